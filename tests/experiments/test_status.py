"""The table of runs says of each what its directory says."""

import json

from experiments import status


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
