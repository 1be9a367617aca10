"""A sweep is a list of ordinary runs."""

import contextlib
import shlex
import shutil
import signal
import sys

import numpy as np
import pytest

from experiments import sweep
from experiments.lib import batch, locks, rundir, tally
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib import points as points_lib
from experiments.lib.errors import Interrupted

CONFIG = "tests/experiments/toy/configs/walk.py"
H = points_lib.Helpers()


@pytest.fixture
def sweep_file(tmp_path):
    def write(body, head=f"CONFIG = {CONFIG!r}"):
        path = tmp_path / "sweep.py"
        path.write_text(f"{head}\ndef get_sweep(h):\n    return {body}\n")
        return str(path)

    return write


def test_product_varies_the_last_factor_fastest():
    assert H.product({"seed": range(2), "algo.step": (0.1, 0.2)}) == [
        {"seed": 0, "algo.step": 0.1}, {"seed": 0, "algo.step": 0.2},
        {"seed": 1, "algo.step": 0.1}, {"seed": 1, "algo.step": 0.2},
    ]  # fmt: skip


def test_zipped_fields_are_one_factor():
    pairs = H.zipped({"a": (1, 2), "b": (10, 20)})
    assert pairs == [{"a": 1, "b": 10}, {"a": 2, "b": 20}]
    assert len(H.product({"seed": range(3)}, pairs)) == 6
    assert H.product(pairs, {"seed": (7,)})[0] == {"a": 1, "b": 10, "seed": 7}


def test_products_nest():
    inner = H.product({"a": (1, 2)}, {"b": (3, 4)})
    assert len(H.product(inner, {"c": range(5)})) == 20


def test_points_are_ordinary_runs(sweep_file):
    points = points_lib.expand(sweep_file('h.product({"seed": range(2), "problem.drift": (0.5, 1)})'))
    assert [point.overrides["seed"] for point in points] == [0, 0, 1, 1]
    for point in points:
        program, *arguments = shlex.split(point.command)[2:]
        assert program == "experiments.toy.walk"
        assert arguments[0] == f"--config={CONFIG}"
        typed = dict(argument.removeprefix("--config.").split("=") for argument in arguments[1:])
        assert config_lib.resolve(CONFIG, typed).directory == point.resolved.directory


def test_the_list_shows_what_is_done(sweep_file, launch, root, capsys):
    reference = sweep_file('h.product({"seed": range(3)}, {"run.num_steps": (4,)})')
    done = launch("--config.seed=1", "--config.run.num_steps=4")
    assert sweep.main([reference, "--list", f"--root={root}"]) == 0
    states = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert sorted(states.values()) == ["done", "missing", "missing"]
    assert states[str(done.path)] == "done"
    assert sweep.main([reference, f"--root={root}"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 2
    assert all(f"--root={root}" in shlex.split(command) for command in commands)


# In batches.

SIX = 'h.product({"problem.drift": (0.0, 0.2, 0.4)}, {"seed": range(2)}, {"run.num_steps": (8,)})'


@pytest.fixture
def swept(walk, monkeypatch, root, capsys):
    """Runs one worker of a sweep in this process."""
    monkeypatch.setitem(sys.modules, "experiments.toy.walk", walk)

    def run(reference, *arguments, width=4, jobs=1):
        capsys.readouterr()
        given = [reference, f"--root={root}", f"--batch_points={width}", f"--jobs={jobs}", "--compile_cache=off"]
        code = sweep.main([*given, "--worker=0", *arguments])
        return code, capsys.readouterr().err

    return run


def contents(root):
    """The bytes of everything in the run directories that holds no clock."""
    names = ("config.json", "metrics.jsonl", "curves.npz", "results.npz", "DONE")
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.name in names}


def test_a_batch_leaves_ordinary_runs(sweep_file, swept, launch, root):
    reference = sweep_file(SIX)
    assert swept(reference) == (0, "")
    for point in points_lib.expand(reference):
        together = rundir.load(root / point.resolved.directory)
        assert together.finished
        assert together.meta["status"] == "done"
        changes = [f"--config.{field}={value}" for field, value in point.overrides.items()]
        alone = rundir.load(launch(*changes, f"--root={root}-alone").path)
        assert alone.config == together.config
        for name, curve in alone.curves.items():
            np.testing.assert_allclose(together.curves[name], curve, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(together.results["final"], alone.results["final"], rtol=1e-5, atol=1e-5)


def test_a_batch_is_formed_from_all_points_and_ends_with_the_same_bytes(sweep_file, swept, root, monkeypatch):
    reference = sweep_file(SIX)
    assert swept(reference)[0] == 0
    whole = contents(root)
    third = points_lib.expand(reference)[2].resolved.directory
    shutil.rmtree(root / third)
    assert swept(reference)[0] == 0
    assert contents(root) == whole
    # Nothing is done twice: with all points done, no program is run.
    monkeypatch.setattr(batch.opening, "opened", None)
    assert swept(reference) == (0, "")


def test_batches_of_a_group_are_one_program(sweep_file, walk):
    points = points_lib.expand(sweep_file('h.product({"seed": range(5)}, {"problem.dim": (2, 3)})'))
    batches = batch.form(points, 2, ("seed", "problem.drift"))
    of = batch.programs(walk, mesh_lib.build({"rep": 1}))
    compiled = []
    for one in batches:
        program = of(one)
        data, state = program.init()
        compiled.append(program.advance.lower(data, state).compile().runtime_executable())
    assert [len(one.points) for one in batches] == [2, 2, 1, 2, 2, 1]
    assert len(set(map(id, compiled))) == 2


def test_a_point_that_fails_is_told_and_the_others_end(sweep_file, swept, walk, root, monkeypatch):
    reference = sweep_file(SIX)
    second = points_lib.expand(reference)[1].resolved.directory
    main = walk.main

    def fails(config, run, mesh):
        if config.seed == 1 and config.problem.drift == 0.0:
            raise ArithmeticError("it is odd")
        main(config, run, mesh)

    monkeypatch.setattr(walk, "main", fails)
    code, said = swept(reference)
    assert code == 1
    assert said.count("\n") == 1
    assert "it is odd" in said
    assert str(root / second) in said
    states = [rundir.standing(root / point.resolved.directory) for point in points_lib.expand(reference)]
    assert states == ["done", "failed", "done", "done", "done", "done"]
    monkeypatch.setattr(walk, "main", main)
    assert swept(reference) == (0, "")


def test_a_point_without_a_finite_replicate_fails_alone(sweep_file, swept, root):
    body = 'h.product({"problem.drift": (0.1, 3e38, 0.3)}, {"run.num_steps": (8,)})'
    code, said = swept(sweep_file(body), width=3)
    assert code == 1
    assert "every replicate has failed by step 4" in said
    stands = [rundir.standing(path.parent) for path in root.rglob("meta.json")]
    assert sorted(stands) == ["done", "done", "failed"]


def test_a_killed_batch_resumes_from_its_checkpoint(sweep_file, swept, root, monkeypatch):
    reference = sweep_file(SIX)
    assert swept(reference, "--checkpoint_steps=4")[0] == 0
    whole = contents(root)
    shutil.rmtree(root)
    log, seen = batch._Together.log, []

    def dies(self, step, metrics):
        if step == 8:
            raise KeyboardInterrupt
        log(self, step, metrics)

    monkeypatch.setattr(batch._Together, "log", dies)
    with pytest.raises(KeyboardInterrupt):
        swept(reference, "--checkpoint_steps=4")
    monkeypatch.setattr(batch._Together, "log", lambda self, step, m: (seen.append(step), log(self, step, m)))
    code, said = swept(reference, "--checkpoint_steps=4")
    assert code == 0
    assert "at step 4" in said
    assert seen[0] == 8
    assert contents(root) == whole


def test_a_signal_late_in_a_batch_leaves_the_finished_points_finished(sweep_file, swept, walk, root, monkeypatch):
    reference = sweep_file(SIX)
    main, ran = walk.main, []

    def interrupted(config, run, mesh):
        if len(ran) == 2:
            raise Interrupted(signal.SIGTERM)
        ran.append(run.path)
        main(config, run, mesh)

    monkeypatch.setattr(walk, "main", interrupted)
    assert swept(reference)[0] == 143
    states = [rundir.standing(root / point.resolved.directory) for point in points_lib.expand(reference)]
    assert states == ["done"] * 2 + ["interrupted"] * 2 + ["missing"] * 2
    assert all(rundir.load(path).meta["status"] == "done" for path in ran)
    monkeypatch.setattr(walk, "main", main)
    assert swept(reference)[0] == 0


def test_a_batch_in_another_s_hands_is_left_to_it(sweep_file, swept, root):
    reference = sweep_file(SIX)
    first = batch.form(points_lib.expand(reference), 4, ("seed", "problem.drift"))[0]
    (root / first.folder).mkdir(parents=True)
    with locks.held(root / first.folder):
        swept(reference)
    states = [rundir.standing(root / point.resolved.directory) for point in points_lib.expand(reference)]
    assert states == ["missing"] * 4 + ["done"] * 2


def test_a_batch_whose_holder_has_died_is_taken_over(sweep_file, swept, walk, root, monkeypatch):
    reference = sweep_file(SIX)
    first = batch.form(points_lib.expand(reference), 4, ("seed", "problem.drift"))[0]
    (root / first.folder).mkdir(parents=True)
    main = walk.main
    with contextlib.ExitStack() as holder:
        holder.enter_context(locks.held(root / first.folder))

        def dies(config, run, mesh):
            holder.close()
            main(config, run, mesh)

        monkeypatch.setattr(walk, "main", dies)
        assert swept(reference) == (0, "")
    assert {rundir.standing(root / point.resolved.directory) for point in points_lib.expand(reference)} == {"done"}


def test_what_another_process_has_failed_at_is_not_tried_again(sweep_file, swept, root, monkeypatch):
    reference = sweep_file(SIX)
    second = root / points_lib.expand(reference)[1].resolved.directory
    monkeypatch.setattr(tally.Tally, "failed", lambda self, folder: folder == second)
    assert swept(reference) == (0, "")
    states = [rundir.standing(root / point.resolved.directory) for point in points_lib.expand(reference)]
    assert states == ["done", "missing", "done", "done", "done", "done"]


def test_what_is_not_traced_has_a_batch_of_its_own(sweep_file):
    reference = sweep_file('h.product({"problem.dim": (2, 3)}, {"seed": range(3)})')
    batches = batch.form(points_lib.expand(reference), 2, ("seed", "problem.drift"))
    assert [len(one.points) for one in batches] == [2, 1, 2, 1]
    assert all(len({point.overrides["problem.dim"] for point in one.points}) == 1 for one in batches)


# Launchers.


def test_a_launcher_prints_what_it_would_submit(sweep_file, root, capsys):
    given = [sweep_file(SIX), f"--root={root}", "--batch_points=4", "--jobs=2"]
    assert sweep.main([*given, "--launcher=slurm", "--option=partition=short", "--option=time=10"]) == 0
    script = capsys.readouterr().out
    assert "#SBATCH --array=0-1" in script
    assert "#SBATCH --partition=short" in script
    assert "--worker=1" in script
    chips = ["--option=cluster=c", "--option=tpu-type=v5litepod-256"]
    assert sweep.main([*given, "--launcher=xpk", *chips]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("xpk workload create --workload=sweep-") for line in lines)
    assert not root.exists()
