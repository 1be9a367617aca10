"""What a sweep refuses: one line that says what is wrong and what is allowed, and nothing is started or written."""

import os
import subprocess

import pytest

from experiments import sweep

WALK = "tests/experiments/toy/configs/walk.py"


@pytest.fixture
def refused(tmp_path, root, capsys):
    """`refused(text of a sweep file, *flags) -> the line`."""

    def of(text, *arguments, code=2):
        path = tmp_path / "sweep.py"
        path.write_text(text)
        assert sweep.main([str(path), f"--root={root}", "--submit", *arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert not root.exists()
        return err

    return of


def text(body, head=f"CONFIG = {WALK!r}\n"):
    return f"{head}def get_sweep(h):\n    return {body}\n"


TWO = text('h.product({"seed": range(2)})')

FILES = {
    "unknown field": (text('h.product({"sed": range(2)})'), "no field config.sed; nearest: config.seed."),
    "section": (text('[{"problem": 1}]'), "config.problem is a section; its fields are config.problem.breaks, "),
    "type": (text('h.product({"seed": (0.5,)})'), "config.seed must be an int, got 0.5."),
    "rule of configs": (text('h.product({"run.num_steps": (63,)})'), "config.run.num_steps must be a multiple"),
    "equal points": (text('h.product({"seed": (3, 3)})'), "has two equal points: {'seed': 3} and {'seed': 3}."),
    "one directory": (text('h.product({"problem.drift": (1, 1.0)})'), "has two equal points: {'problem.drift': 1} and"),
    "a field twice": (text('h.product({"seed": (1,)}, [{"seed": 2}])'), "two factors of the sweep set seed."),
    "unequal lengths": (
        text('h.zipped({"seed": (1, 2), "problem.drift": (3,)})'),
        "zipped fields must have equally many values, got {'seed': 2, 'problem.drift': 1}.",
    ),
    "empty": (text('h.product({"seed": ()})'), "has no points."),
    "nothing": (text("None"), "failed: TypeError: 'NoneType' object is not iterable"),
    "no values": (text('h.product({"seed": 3})'), "failed: TypeError: 'int' object is not iterable"),
    "no points": (text("[1]"), "must return a list of field -> value, got 1 in it."),
    "no CONFIG": (text('h.product({"seed": range(2)})', head=""), "must name the config that it varies: CONFIG = "),
    "missing CONFIG": (text("[{}]", head='CONFIG = "configs/wlk.py"\n'), "no config configs/wlk.py"),
    "no get_sweep": (f"CONFIG = {WALK!r}\n", "sweep.py does not define get_sweep()."),
    "raises": ("1 / 0\n", "sweep.py cannot be loaded: ZeroDivisionError: division by zero"),
    "raises later": (text("1 / 0"), "sweep.py failed: ZeroDivisionError: division by zero"),
    "syntax": ("def get_sweep(h:\n", "sweep.py cannot be loaded: SyntaxError: "),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_sweep_file(refused, content, message):
    assert message in refused(content)


FLAGS = {
    "jobs": (["--jobs=0"], "--jobs must be at least 1, got 0."),
    "jobs, no number": (["--jobs=two"], "argument --jobs: invalid int value: 'two'"),
    "batch_points": (["--batch_points=0"], "--batch_points must be at least 1, got 0."),
    "cpu_devices": (["--cpu_devices=-1"], "--cpu_devices must be at least 0, got -1."),
    "checkpoint_steps": (["--checkpoint_steps=-8"], "--checkpoint_steps must be at least 0, got -8."),
    "checkpoint_minutes": (["--checkpoint_minutes=-1"], "--checkpoint_minutes must be at least 0, got -1.0."),
    "launcher": (["--launcher=pbs"], "argument --launcher: invalid choice: 'pbs' (choose from "),
    "unknown flag": (["--job=2", "--fast"], "unrecognized arguments: --fast"),
    "axis": (["--mesh=row:2"], "--mesh axes are rep, data, model"),
    "mesh": (["--mesh=rep:3"], "--mesh axis rep:3 must divide run.replicates, got 8; --config.run.replicates=9 would"),
    "mesh of a batch": (["--mesh=rep:3", "--batch_points=2"], "--mesh axis rep:3 must divide run.replicates, got 8;"),
    "slices": (["--dcn=data:2"], "--dcn gives numbers of slices to axes of --mesh=rep:1, got 'data:2'."),
    "distributed": (["--distributed"], "--distributed is for --launcher=slurm and xpk, whose jobs may have several"),
    "slices of a batch": (["--dcn=rep:2", "--batch_points=2", "--mesh=rep:2"], "--batch_points is for jobs of one"),
    "option": (["--launcher=slurm", "--option=fast"], "--option must be key=value, got 'fast'."),
    "option of none": (["--option=time=10"], "--option is for --launcher=slurm or xpk, got 'time=10' for local."),
    "missing option": (["--launcher=xpk"], "--option cluster=... is needed by this launcher."),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), FLAGS.values(), ids=FLAGS)
def test_flags(refused, arguments, message):
    assert message in refused(TWO, *arguments)


def test_points_that_cannot_share_a_process(refused):
    precise = text('h.product({"numerics.x64": (False, True)})')
    assert "--batch_points must be 1 where points differ in numerics, got 2." in refused(precise, "--batch_points=2")
    others = text('h.product({"experiment": ("toy.walk", "toy.run")})')
    assert "--batch_points must be 1 where points differ in experiment, got 2." in refused(others, "--batch_points=2")


def test_a_missing_file(root, capsys):
    assert sweep.main(["configs/halpern/sweeps/game.py", f"--root={root}"]) == 2
    said = "error: no config configs/halpern/sweeps/game.py; nearest: configs/halpern/sweeps/games.py.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("flags", [[], ["--batch_points=2"], ["--list"]])
def test_a_root_below_a_file(tmp_path, capsys, flags):
    (tmp_path / "sweep.py").write_text(TWO)
    (tmp_path / "file").write_text("precious")
    assert sweep.main([str(tmp_path / "sweep.py"), f"--root={tmp_path / 'file' / 'runs'}", "--submit", *flags]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: [Errno 20] Not a directory: ")
    assert err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_root_that_is_read_only(tmp_path, capsys):
    (tmp_path / "sweep.py").write_text(TWO)
    (tmp_path / "disk").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path / "disk"], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        assert sweep.main([str(tmp_path / "sweep.py"), f"--root={tmp_path / 'disk' / 'runs'}", "--submit"]) == 1
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)
    err = capsys.readouterr().err
    assert err.startswith("error: [Errno 30] Read-only file system: ")
    assert err.count("\n") == 1
