"""Sweeps of real processes in which something goes wrong: the rest goes on, and the same command, given again, ends
with the bytes of a sweep that nothing happened to and does nothing twice.

A single run's kills, signals and disks are in test_resume and test_disk; README.md has a table of all faults.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.lib import points, rundir
from experiments.lib.config import CHECKOUT

TOY = CHECKOUT / "tests/experiments/toy"
SAME = ("config.json", "metrics.jsonl", "curves.npz", "results.npz", "DONE")

#: Sweep and flags: every point a process of its own, or two points a program.
MODES = {"alone": ["four.py"], "batched": ["eight.py", "--batch_points=2"]}
STEP = 12  # of 16 in chunks of 4: where a run waits at a closed gate, its row logged and not yet saved

slow = pytest.mark.slow
in_either_mode = pytest.mark.parametrize("mode", [pytest.param("alone", marks=slow), "batched"])
slow_in_either_mode = pytest.mark.parametrize("mode", [pytest.param(mode, marks=slow) for mode in MODES])


class Sweep:
    """One sweep under one root, whose command is given as often as asked."""

    def __init__(self, folder: Path, environment, arguments):
        folder.mkdir(parents=True, exist_ok=True)
        name, *self._flags = arguments
        self.root, self.gate, self._reference = folder / "runs", folder / "gate", f"tests/experiments/toy/sweeps/{name}"
        self._folder, self._started = folder, []
        self._environment = environment | {"PYTHONPATH": f"{CHECKOUT}:{TOY / 'site'}"}

    @property
    def folders(self) -> list[Path]:
        return [self.root / point.resolved.directory for point in points.expand(self._reference)]

    @property
    def stands(self) -> list[str]:
        return [rundir.standing(folder) for folder in self.folders]

    def start(self, *flags, gated=False, within=(), **variables) -> subprocess.Popen:
        """Begins the sweep in a process group of its own; what it says goes to a file that `ended` reads."""
        environment = self._environment | variables
        if gated:
            self.gate.mkdir(exist_ok=True)
            (self.gate / "closed").touch()
            environment |= {"TOY_GATE": str(self.gate), "TOY_GATE_STEP": str(STEP)}
        arguments = [self._reference, f"--root={self.root}", "--submit", *self._flags, *flags]
        with open(self._folder / f"said{len(self._started)}", "w") as said:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "experiments.sweep", *arguments],
                cwd=CHECKOUT, env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def ended(self, process: subprocess.Popen, code: int) -> str:
        """Waits for the end, and returns what was said."""
        found = process.wait(timeout=300)
        said = (self._folder / f"said{self._started.index(process)}").read_text()
        assert found == code, said
        return said

    def run(self, *flags, code=0, **more) -> str:
        return self.ended(self.start(*flags, **more), code)

    def held(self, count) -> dict[int, Path]:
        """Waits until so many processes wait at the gate: process -> the run that it is at."""
        wait_until(lambda: len(list(self.gate.glob("*:*"))) == count)
        runs = {folder.name: folder for folder in self.folders}
        places = (path.name.split(":") for path in self.gate.glob("*:*"))
        return {int(process): runs[name] for process, name in places}

    def open(self) -> None:
        (self.gate / "closed").unlink()

    def attempts(self) -> list[list[str]]:
        """Of every point, why its attempts ended."""
        return [[attempt["why"] for attempt in rundir.load(folder).meta["attempts"]] for folder in self.folders]

    def contents(self) -> dict[str, bytes]:
        """The bytes of all that holds no clock."""
        return {f"{folder.name}/{name}": (folder / name).read_bytes() for folder in self.folders for name in SAME}

    def finished(self) -> dict[Path, tuple[int, int]]:
        """When and as which file everything in finished runs was written."""
        folders = [folder for folder in self.folders if (folder / "DONE").exists()]
        stats = {folder / name: (folder / name).stat() for folder in folders for name in (*SAME, "meta.json")}
        return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}

    def close(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):  # orphans are of its group still
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(condition) -> None:
    patience = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.02)


@pytest.fixture
def sweep_of(tmp_path, environment):
    with contextlib.ExitStack() as stack:

        def of(arguments, folder=tmp_path):
            return stack.enter_context(contextlib.closing(Sweep(folder, environment, arguments)))

        yield of


@pytest.fixture
def sweep(sweep_of, mode):
    return sweep_of(MODES[mode])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, environment):
    """Of each mode the bytes of a sweep that nothing happens to."""
    found = {}

    def of(mode):
        if mode not in found:
            with contextlib.closing(Sweep(tmp_path_factory.mktemp(mode), environment, MODES[mode])) as quiet:
                quiet.run()
                found[mode] = quiet.contents()
        return found[mode]

    return of


def ends_undisturbed(sweep, expected, *flags) -> str:
    """Gives the command once more: the bytes are those expected, and finished runs are not touched."""
    before = sweep.finished()
    said = sweep.run(*flags)
    assert f"{len(sweep.folders)} of {len(sweep.folders)} points done" in said
    assert sweep.contents() == expected
    assert {path: stamp for path, stamp in sweep.finished().items() if path in before} == before
    return said


@in_either_mode
def test_sigkill_of_one_of_four_processes(sweep, mode, undisturbed):
    launcher = sweep.start("--jobs=4", gated=True)
    killed, run = sweep.held(4).popitem()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: rundir.standing(run) == "killed")
    sweep.open()
    # A batch is taken over by another process of the same sweep; a point of its own waits for the next command.
    said = sweep.ended(launcher, 0 if mode == "batched" else 1)
    assert "ended with code -9" in said
    assert (f"error: killed: {run}" in said) == (mode == "alone")
    ends_undisturbed(sweep, undisturbed(mode), "--jobs=4")
    lanes = 2 if mode == "batched" else 1
    others = len(sweep.folders) - lanes
    assert sorted(sweep.attempts()) == [["done"]] * others + [["killed", "done"]] * lanes


@slow
def test_sigkill_in_the_middle_of_writes_of_a_batch(sweep_of, tmp_path, undisturbed):
    """Of every tenth write of a sweep, the lanes' ends among them; all writes of a single run are in test_resume."""
    flags = ["--checkpoint_steps=8"]
    counted = sweep_of(MODES["batched"], tmp_path / "counted")
    counted.run(*flags, TOY_KILLED=f"{tmp_path}:0")
    (writes,) = (int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal())
    for fatal in range(5, writes + 1, 10):
        sweep = sweep_of(MODES["batched"], tmp_path / f"at{fatal}")
        sweep.run(*flags, code=1, TOY_KILLED=f"{tmp_path}:{fatal}")
        ends_undisturbed(sweep, undisturbed("batched"), *flags)
        assert not list(sweep.root.rglob("*/.*.tmp")), fatal


@slow_in_either_mode
def test_sigkill_of_the_launcher(sweep, mode, undisturbed):
    """Its processes go on; the same command beside them leaves theirs to them and does the rest."""
    launcher = sweep.start("--jobs=2", gated=True)
    theirs = sweep.held(2)
    launcher.kill()
    sweep.ended(launcher, -signal.SIGKILL)
    said = sweep.run("--jobs=2", code=1)
    assert sorted(set(sweep.stands)) == ["done", "running"]
    assert all(f"error: running: {run}: in the hands of another process\n" in said for run in theirs.values())
    sweep.open()
    wait_until(lambda: set(sweep.stands) == {"done"})
    ends_undisturbed(sweep, undisturbed(mode), "--jobs=2")
    assert sweep.attempts() == [["done"]] * len(sweep.folders)


@pytest.mark.parametrize("to", [pytest.param("launcher", marks=slow), "all"])
@in_either_mode
def test_sigterm(sweep, mode, to, undisturbed):
    """The launcher passes the signal on, so that each process of the group gets it twice, and saves its state."""
    launcher = sweep.start("--jobs=2", gated=True)
    sweep.held(2)
    os.killpg(launcher.pid, signal.SIGTERM) if to == "all" else launcher.terminate()
    time.sleep(1.0)  # for the launcher, which looks every 20 ms
    sweep.open()
    number = len(sweep.folders)
    said = sweep.ended(launcher, 128 + signal.SIGTERM)
    assert f"error: stopped by SIGTERM with 0 of {number} points done; the same command resumes the sweep" in said
    assert sorted(sweep.stands) == ["interrupted"] * (number // 2) + ["missing"] * (number // 2)
    ends_undisturbed(sweep, undisturbed(mode), "--jobs=2")
    resumed = [rundir.load(folder).meta["attempts"][-1]["from_step"] for folder in sweep.folders]
    assert sorted(resumed) == [0] * (number // 2) + [STEP] * (number // 2)


@slow_in_either_mode
def test_a_damaged_newest_checkpoint(sweep, mode, undisturbed):
    launcher = sweep.start("--checkpoint_steps=4", gated=True)
    (run,) = sweep.held(1).values()
    (folder,) = sweep.root.rglob("checkpoints") if mode == "batched" else [run / "checkpoints"]
    wait_until((folder / "8").exists)
    os.killpg(launcher.pid, signal.SIGKILL)
    sweep.ended(launcher, -signal.SIGKILL)
    wait_until(lambda: rundir.standing(run) == "killed")
    for path in (folder / "8").rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    said = ends_undisturbed(sweep, undisturbed(mode), "--checkpoint_steps=4")
    assert "checkpoint 8 is damaged and skipped (" in said
    assert "at step 4\n" in said
    assert rundir.load(run).meta["attempts"][-1]["from_step"] == 4


@pytest.mark.parametrize("jobs", [1, 2])
@slow_in_either_mode
def test_two_launchers_at_once(sweep, mode, jobs, undisturbed):
    """Both begin at the first point; the other's second process begins in the middle."""
    both = [sweep.start(f"--jobs={jobs}"), sweep.start("--jobs=2")]
    for launcher in both:
        assert launcher.wait(timeout=300) in (0, 1)  # 1 where the other was still at a point
    assert set(sweep.stands) == {"done"}
    assert sweep.attempts() == [["done"]] * len(sweep.folders)
    ends_undisturbed(sweep, undisturbed(mode))


@slow_in_either_mode
def test_a_second_launcher_takes_what_the_first_has_left(sweep, mode, undisturbed):
    first = sweep.start("--jobs=2", gated=True)
    sweep.held(2)
    second = sweep.start("--jobs=2", gated=True)
    sweep.held(4)
    sweep.open()
    assert {first.wait(timeout=300), second.wait(timeout=300)} <= {0, 1}
    assert sweep.attempts() == [["done"]] * len(sweep.folders)
    ends_undisturbed(sweep, undisturbed(mode))


@in_either_mode
def test_points_that_fail(sweep_of, mode):
    """One is not finite, one raises, one asks for too much memory: each is recorded in a line, and the others end."""
    sweep = sweep_of(["faulty.py"] + (["--batch_points=2"] if mode == "batched" else []))
    stands = ["done", "failed", "done", "done", "failed", "failed"]
    said = sweep.run(code=1)
    assert sweep.stands == stands
    reasons = ["RunError: every replicate has failed by step 4.", "TypeError: ", "JaxRuntimeError: RESOURCE_EXHAUSTED"]
    for number, reason in zip((1, 4, 5), reasons, strict=True):
        folder = sweep.folders[number]
        assert said.count(f"error: failed: {folder}: {reason}") == 1
        meta = rundir.load(folder).meta
        assert meta["status"] == "failed"
        assert rundir.last_end(folder, meta).startswith(reason)
    assert said.count("Traceback") == (0 if mode == "batched" else 1)  # of the point that raises; log.txt has them all
    before = sweep.finished()
    sweep.run(code=1)
    assert sweep.stands == stands
    assert sweep.finished() == before


@in_either_mode
def test_files_that_cannot_grow(sweep, mode, undisturbed):
    """Beyond 64 blocks of 512 bytes every write fails, which is the third row of every point."""
    limited = ("sh", "-c", 'ulimit -f 64; exec "$@"', "sh")
    said = sweep.run("--compile_cache=off", within=limited, code=1)
    assert set(sweep.stands) == {"failed"}
    for folder in sweep.folders:
        assert f"error: failed: {folder}: OSError: [Errno 27] File too large\n" in said
    assert "Traceback" not in said
    ends_undisturbed(sweep, undisturbed(mode))
    assert sweep.attempts() == [["OSError: [Errno 27] File too large", "done"]] * len(sweep.folders)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
@slow_in_either_mode
def test_a_disk_that_fills_up(sweep, mode, undisturbed):
    """The first points end, later ones fail with one line each; on a larger disk the rest is done."""
    sweep.root.mkdir()
    size = "size=400k" if mode == "alone" else "size=800k"  # enough for one point, for two batches
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", sweep.root], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        said = sweep.run("--checkpoint_steps=4", code=1)
        assert "done" in sweep.stands
        assert set(sweep.stands) - {"done"}
        assert "No space left on device" in said
        assert "Traceback" not in said
        subprocess.run(["mount", "-o", "remount,size=64m", sweep.root], check=True)
        ends_undisturbed(sweep, undisturbed(mode), "--checkpoint_steps=4")
    finally:
        sweep.close()
        subprocess.run(["umount", sweep.root], check=True)
