"""What a run directory holds, when it is redone, and who may write it."""

import contextlib
import fcntl
import json
import threading

import numpy as np
import pytest
from scipy import stats

from experiments.lib import errors, locks, rundir

CONFIG = "tests/experiments/toy/configs/walk.py"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finished_run_holds_what_the_layout_promises(launch, root):
    ended = launch("--config.run.num_steps=12")
    assert (ended.code, ended.err) == (0, "")
    assert ended.path == rundir.find(CONFIG, root, {"run.num_steps": 12})
    names = {entry.name for entry in ended.path.iterdir()}
    assert names == {
        ".lock", "DONE", "config.json", "curves.npz", "figures", "meta.json", "metrics.jsonl", "results.npz",
        "timing.jsonl",
    }  # fmt: skip
    run = rundir.load(ended.path)
    assert run.finished
    assert run.name == "walk"
    assert run.config.run.num_steps == 12
    assert run.meta["status"] == "done"
    assert run.meta["attempts"][0]["why"] == "done"
    assert run.meta["attempts"][0]["to_step"] == 12
    assert run.meta["mesh"] == {"rep": 1}
    assert run.meta["prng_impl"] == "threefry2x32"
    assert run.meta["compile_seconds"] > 0
    assert run.axes == {"coordinate": ("first", "second")}
    assert run.curves["step"].tolist() == [4, 8, 12]
    assert run.curves["distance"].shape == (3, 8)
    assert run.curves["position"].shape == (3, 8, 2)
    assert run.results["final"].shape == (8, 4)
    assert run.results["labels"].tolist() == ["first", "second"]
    assert [row["step"] for row in lines(ended.path / "timing.jsonl")] == [4, 8, 12]


def test_rows_are_means_and_intervals_of_the_curves(launch):
    run = rundir.load(launch("--config.run.num_steps=8").path)
    for point, row in enumerate(lines(run.path / "metrics.jsonl")):
        distance = run.curves["distance"][point].astype(np.float64)
        low, high = stats.t.interval(0.95, 7, distance.mean(), stats.sem(distance))
        assert row["distance"] == pytest.approx(distance.mean(), rel=1e-12)
        assert row["distance/ci95"] == pytest.approx((high - low) / 2, rel=1e-9)
        assert row["distance/n"] == 8
        assert row["position"] == pytest.approx(run.curves["position"][point].astype(np.float64).mean(axis=0).tolist())


def test_one_replicate_has_no_interval(launch):
    run = rundir.load(launch("--config.run.num_steps=4", "--config.run.replicates=1").path)
    (row,) = lines(run.path / "metrics.jsonl")
    assert row["distance/ci95"] is None
    assert row["position/ci95"] == [None, None]
    assert row["distance/n"] == 1


def test_a_finished_run_is_not_redone(launch):
    first = launch("--config.run.num_steps=4")
    stamps = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}

    def main(config, run, mesh):
        raise AssertionError

    again = launch("--config.run.num_steps=4", main=main)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == stamps


def test_overwrite_redoes_it_with_the_same_bytes(launch):
    first = launch("--config.run.num_steps=4")
    kept = {name: (first.path / name).read_bytes() for name in ("metrics.jsonl", "curves.npz", "results.npz")}
    (first.path / "left.over").write_text("x")
    assert launch("--config.run.num_steps=4", "--overwrite").code == 0
    assert {name: (first.path / name).read_bytes() for name in kept} == kept
    assert not (first.path / "left.over").exists()
    assert len(rundir.load(first.path).meta["attempts"]) == 1


def stop_after(walk, steps):
    """A main that ends with an error after the given number of steps, its state saved."""
    from experiments.lib import driver

    def main(config, run, mesh):
        log = run.log

        def limited(step, metrics):
            if step > steps:
                raise errors.RunError("as asked")
            log(step, metrics)

        run.log = limited
        driver.drive(walk.program(config, mesh), config, run)

    return main


def test_another_revision_does_not_resume_by_itself(launch, walk, root, monkeypatch):
    arguments = ("--config.run.num_steps=16", "--checkpoint_steps=4")
    assert launch(*arguments, main=stop_after(walk, 8)).code == 1
    monkeypatch.setenv("EQUIPOISE_REVISION", "another")
    refused = launch(*arguments)
    (path,) = root.glob("toy/walk/*")
    assert refused.code == 1
    assert refused.err == (
        f"error: {path} was begun by revision as-tested and this is another; "
        "use --allow_new_revision to resume it or --overwrite.\n"
    )
    assert launch(*arguments, "--allow_new_revision").code == 0
    attempts = rundir.load(path).meta["attempts"]
    assert [(a["git_revision"], a["from_step"], a["to_step"]) for a in attempts] == [
        ("as-tested", 0, 8), ("another", 8, 16)
    ]  # fmt: skip
    assert attempts[0]["why"] == "RunError: as asked"


def test_an_unfinished_run_can_be_read(launch, walk, root):
    launch("--config.run.num_steps=16", main=stop_after(walk, 8))
    (path,) = root.glob("toy/walk/*")
    run = rundir.load(path)
    assert not run.finished
    assert run.meta["status"] == "failed"
    assert run.curves["step"].tolist() == [4, 8]
    assert run.results == {}


def test_the_panels_of_main_see_what_a_reader_sees(launch, walk):
    seen = {}

    def main(config, run, mesh):
        walk.main(config, run, mesh)
        seen.update(curves=run.curves, results=dict(run.results), name=run.name, axes=run.axes, config=run.config)

    run = rundir.load(launch("--config.run.num_steps=8", main=main).path)
    assert seen["name"] == run.name
    assert seen["axes"] == run.axes
    assert seen["config"].to_dict() == run.config.to_dict()
    for ours, theirs in ((seen["curves"], run.curves), (seen["results"], run.results)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], strict=True)


def test_one_failed_replicate_leaves_the_others_alone(launch):
    arguments = ("--config.run.num_steps=16", "--config.problem.breaks_at=7")
    sound = rundir.load(launch(*arguments).path)
    ended = launch(*arguments, "--config.problem.breaks=2")
    assert ended.code == errors.EXIT_FAILED_REPLICATES
    assert ended.err.splitlines() == [
        "replicate 2: distance is not finite at step 8; it is left out of means from here on",
        f"error: {ended.path}: 1 of 8 replicates failed (2); see meta.json",
    ]
    broken = rundir.load(ended.path)
    assert broken.failed == [{"replicate": 2, "step": 8, "metric": "distance"}]
    others = [r for r in range(8) if r != 2]
    for name in ("distance", "position"):
        assert broken.curves[name][:, others].tobytes() == sound.curves[name][:, others].tobytes()
    assert broken.results["final"][others].tobytes() == sound.results["final"][others].tobytes()
    rows = lines(broken.path / "metrics.jsonl")
    assert [row["distance/n"] for row in rows] == [8, 7, 7, 7]
    assert rows[0] == lines(sound.path / "metrics.jsonl")[0]
    expected = sound.curves["distance"][-1, others].astype(np.float64).mean()
    assert rows[-1]["distance"] == pytest.approx(expected, rel=1e-12)
    again = launch(*arguments, "--config.problem.breaks=2")
    assert again.code == errors.EXIT_FAILED_REPLICATES
    assert again.err.count("\n") == 1


def test_a_run_without_a_sound_replicate_stops(launch, root):
    ended = launch("--config.run.num_steps=16", "--config.run.replicates=1", "--config.problem.breaks=0")
    (path,) = root.glob("toy/walk/*")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == f"error: {path}: every replicate has failed by step 4."
    assert not (path / "DONE").exists()


def test_many_that_fail_at_once_are_one_line(launch, root):
    ended = launch("--config.run.replicates=1000", "--config.problem.drift=3e38")
    (path,) = root.glob("toy/walk/*")
    assert ended.err.splitlines() == [
        "replicates 0, 1, 2, 3 and 996 more: distance is not finite at step 4; they are left out of means from here on",
        f"error: {path}: every replicate has failed by step 4.",
    ]


def test_two_processes_do_not_share_a_directory(launch, root):
    path = rundir.find(CONFIG, root)
    path.mkdir(parents=True)
    with locks.held(path):
        ended = launch()
    assert ended.code == 1
    assert ended.err.startswith(f"error: {path} is in use by process ")
    assert ended.err.count("\n") == 1
    assert [entry.name for entry in path.iterdir()] == [".lock"]
    assert launch().code == 0


def test_a_run_that_another_process_ends_meanwhile_is_not_redone(launch, monkeypatch):
    first = launch("--config.run.num_steps=4")
    (first.path / "DONE").unlink()
    held = locks.held

    @contextlib.contextmanager
    def a_little_late(folder):
        (folder / "DONE").touch()
        with held(folder):
            yield

    monkeypatch.setattr(locks, "held", a_little_late)
    assert launch("--config.run.num_steps=4") == first
    assert len(rundir.load(first.path).meta["attempts"]) == 1


def test_a_look_at_the_lock_is_not_a_process_at_work(tmp_path):
    (tmp_path / ".lock").touch()
    with open(tmp_path / ".lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.03, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        with locks.held(tmp_path):
            assert locks.is_held(tmp_path)
        timer.join()


def test_old_schemas_are_upgraded_and_new_ones_refused(launch, monkeypatch):
    path = launch("--config.run.num_steps=4").path
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | {"schema": 0}))
    with pytest.raises(errors.RunError, match="has schema 0, and this code reads up to schema 1"):
        rundir.load(path)

    def upgrade(meta, config):
        return meta | {"upgraded": True}, config | {"note": "added"}

    monkeypatch.setitem(rundir.UPGRADES, 0, upgrade)
    run = rundir.load(path)
    assert run.meta["upgraded"]
    assert run.config.note == "added"
    (path / "meta.json").write_text(json.dumps(meta | {"schema": 2}))
    with pytest.raises(errors.RunError, match="has schema 2"):
        rundir.load(path)


def test_no_run_is_one_error(tmp_path):
    with pytest.raises(errors.RunError, match="no run at"):
        rundir.load(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "metrics must be named"),
        ({"step": [1.0]}, "metrics must be named, and not 'step'"),
        ({"x": 1.0}, r"metrics must have the shape \[R\] or \[R, axis\]"),
        ({"x": [1.0, 2.0], "y": [1.0]}, r"metrics must have the shape \[R\] or \[R, axis\]"),
        ({"x": ["a"]}, "metrics must be real numbers"),
    ],
)
def test_metrics_that_are_none(launch, metrics, message):
    def main(config, run, mesh):
        with pytest.raises(ValueError, match=message):
            run.log(1, metrics)
        run.log(1, {"x": [1.0]})
        with pytest.raises(ValueError, match="step must grow, got 1 after 1"):
            run.log(1, {"x": [1.0]})
        with pytest.raises(ValueError, match="metrics must keep their names and shapes"):
            run.log(2, {"z": [1.0]})

    assert launch(main=main).code == 0


def test_what_init_returns_must_be_what_tools_compile(launch, walk):
    from experiments.lib import driver

    def main(config, run, mesh):
        import jax

        program = walk.program(config, mesh)
        data, state = program.abstract_args
        wrong = state | {"x": jax.ShapeDtypeStruct((8, 5), state["x"].dtype)}
        driver.drive(program._replace(abstract_args=(data, wrong)), config, run)

    ended = launch(main=main)
    assert ended.code == 1
    assert "abstract_args must describe what init returns" in ended.err


def test_traced_fields_must_be_in_the_config(launch, walk):
    from experiments.lib import driver

    def main(config, run, mesh):
        driver.drive(walk.program(config, mesh)._replace(traced_fields=("problem.drft",)), config, run)

    ended = launch(main=main)
    assert ended.code == 2
    assert "traced field problem.drft is not in the config; nearest: problem.drift." in ended.err
