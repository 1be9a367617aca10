"""The table of runs says of each what its directory says."""

import json
import os
import time

import pytest

from experiments import status
from experiments.lib import locks, rundir


def test_a_row_for_every_run(launch, root, capsys):
    done = launch("--config.run.num_steps=4").path
    hurt = launch("--config.run.num_steps=8", "--config.problem.breaks=2").path
    stopped = launch("--config.run.num_steps=12").path
    (stopped / "DONE").unlink()
    meta = json.loads((stopped / "meta.json").read_text()) | {"status": "running"}
    (stopped / "meta.json").write_text(json.dumps(meta))
    found = {row.run: row for row in status.rows(root)}
    assert [row.state for row in status.rows(root)] == ["killed", "done", "done"]
    names = [str(path.relative_to(root)) for path in (done, hurt, stopped)]
    assert [(found[name].step, found[name].steps) for name in names] == [(4, 4), (8, 8), (12, 12)]
    assert found[names[1]].note == "1 replicates failed"
    assert status.rows(root, only="other/") == []
    assert status.main([f"--root={root}"]) == 0
    assert "1 killed, 2 done" in capsys.readouterr().out


def test_a_missing_root_is_one_line(root, capsys):
    assert status.main([f"--root={root}"]) == 1
    assert capsys.readouterr().err == f"error: --root: there is no folder {root}.\n"


def test_a_run_on_its_way_is_as_far_as_its_rows(launch, root):
    """`meta.json` is written with checkpoints: between them a lane of a batch, or a run, has rows that it lacks."""
    path = launch("--config.run.num_steps=12").path
    (path / "DONE").unlink()
    meta = rundir.load(path).meta
    meta["status"] = "running"
    meta["attempts"][-1]["to_step"], meta["wall_seconds"] = 4, 5.0
    (path / "meta.json").write_text(json.dumps(meta))
    with open(path / "timing.jsonl", "a") as file:
        file.write('{"step": 1')  # a row that is being written
    now = time.time()
    with locks.held(path):
        for entry in path.iterdir():
            os.utime(entry, (now - 60, now - 60))
        os.utime(path / "timing.jsonl", (now - 20, now - 20))
        (row,) = status.rows(root)
    assert (row.state, row.step, row.steps, row.note) == ("running", 12, 12, "")
    assert row.seconds == pytest.approx(45.0, abs=0.1)
    assert row.age == pytest.approx(20.0, abs=5.0)


def test_lanes_of_a_batch_are_rows_and_its_folder_is_none(launch, root):
    path = launch("--config.run.num_steps=4").path
    (path.parent / ".batches" / "0123456789ab" / "checkpoints").mkdir(parents=True)
    assert [row.run for row in status.rows(root)] == [str(path.relative_to(root))]


def test_a_run_that_is_overwritten_meanwhile_is_left_out(launch, root):
    path = launch("--config.run.num_steps=4").path
    (path / "config.json").unlink()
    assert status.rows(root) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--watch=soon"], "argument --watch: invalid float value: 'soon'"),
        (["--watch=-1"], "--watch must be at least 0 seconds, got -1.0."),
    ],
)
def test_bad_flags_are_one_line(root, capsys, arguments, message):
    root.mkdir()
    assert status.main([f"--root={root}", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
