"""Killed at any moment and started again by the same command, a run ends with the bytes of one that was not."""

import io
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.lib import files, rundir
from experiments.lib.config import CHECKOUT

WALK, KILLED = (CHECKOUT / "tests/experiments/toy" / name for name in ("walk.py", "killed.py"))
CONFIG = "tests/experiments/toy/configs/walk.py"
SAME = ("metrics.jsonl", "curves.npz", "results.npz", "config.json")

#: Twenty chunks, every one of them saved: none is waited for beyond the sixth, so that on a busy machine too the signal
#: comes before the end.
LONG = {"run.num_steps": 100_000, "run.chunk": 5_000, "problem.breaks": 5, "problem.breaks_at": 25_000}
FLAGS = [f"--config.{field}={value}" for field, value in LONG.items()] + ["--checkpoint_minutes=0"]


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


def logged(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def wait_for_rows(process, folder, count):
    while logged(folder) < count and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()


def ended(process, code):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    return out, err


def run_alone(script, root, flags, environment):
    command = [sys.executable, str(script), f"--root={root}", *flags]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    return done


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, environment):
    """Bytes of the run that nothing happened to. Replicate 5 fails on the way, as it will in the others."""
    root = tmp_path_factory.mktemp("undisturbed")
    run_alone(WALK, root, FLAGS, environment)
    return bytes_of(rundir.find(CONFIG, root, LONG))


@pytest.fixture
def folder(root):
    return rundir.find(CONFIG, root, LONG)


def test_sigkill_after_some_rows_and_again(start, folder, undisturbed):
    rows, draw = 0, random.Random(0)
    for _ in range(2):
        rows += draw.randint(1, 3)
        process = start(*FLAGS)
        wait_for_rows(process, folder, rows)
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        ended(process, -signal.SIGKILL)
    _, err = ended(start(*FLAGS), 3)
    assert f"resumes {folder} at step " in err
    assert bytes_of(folder) == undisturbed
    attempts = rundir.load(folder).meta["attempts"]
    assert [attempt["why"] for attempt in attempts] == ["killed"] * 2 + ["done"]
    assert attempts[-1]["from_step"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_notice_saves_the_state(start, folder, undisturbed, number):
    flags = [*FLAGS[:-1], "--checkpoint_minutes=60"]
    process = start(*flags)
    wait_for_rows(process, folder, 3)
    process.send_signal(number)
    _, err = ended(process, 128 + number)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: stopped by {number.name} at step ")
    assert line.endswith("; the same command resumes the run")
    rows = logged(folder)
    _, err = ended(start(*flags), 3)
    assert f"resumes {folder} at step {LONG['run.chunk'] * rows}" in err
    assert bytes_of(folder) == undisturbed
    run = rundir.load(folder)
    assert [(a["why"], a["from_step"]) for a in run.meta["attempts"]] == [
        (number.name, 0),
        ("done", LONG["run.chunk"] * rows),
    ]


def test_a_damaged_newest_checkpoint(start, folder, undisturbed):
    process = start(*FLAGS)
    wait_for_rows(process, folder, 5)
    process.kill()
    ended(process, -signal.SIGKILL)
    steps = sorted(int(entry.name) for entry in (folder / "checkpoints").iterdir() if entry.name.isdecimal())
    for path in (folder / "checkpoints" / str(steps[-1])).rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    _, err = ended(start(*FLAGS), 3)
    first, second = err.splitlines()[:2]
    assert first.startswith(f"checkpoint {steps[-1]} is damaged and skipped (")
    assert second == f"resumes {folder} at step {steps[-2]}"
    assert bytes_of(folder) == undisturbed


@pytest.mark.slow
def test_lost_rows_take_their_checkpoints_with_them(start, folder, undisturbed):
    process = start(*FLAGS)
    wait_for_rows(process, folder, 4)
    process.kill()
    ended(process, -signal.SIGKILL)
    (folder / "curves.journal").unlink()
    _, err = ended(start(*FLAGS), 3)
    assert "is damaged and skipped (rows before it are missing)" in err
    assert "resumes" not in err
    assert bytes_of(folder) == undisturbed


def test_another_mesh_goes_on(start, folder, undisturbed):
    """Eight devices take over from one: the same draws, and sums to a few units in the last place of float32, since a
    compiler may add up lanes of another width in another order (jax 0.12 does, 0.10 does not)."""
    process = start(*FLAGS)
    wait_for_rows(process, folder, 4)
    process.kill()
    ended(process, -signal.SIGKILL)
    _, err = ended(start(*FLAGS, "--mesh=rep:8", "--cpu_devices=8"), 3)
    assert f"resumes {folder} at step " in err
    assert rundir.load(folder).meta["mesh"] == {"rep": 8}
    for name in ("curves.npz", "results.npz"):
        expected = np.load(io.BytesIO(undisturbed[name]))
        found = files.read_npz(folder / name)
        assert sorted(found) == sorted(expected.files)
        for key in expected.files:
            if np.issubdtype(expected[key].dtype, np.floating):
                np.testing.assert_allclose(found[key], expected[key], rtol=1e-6, err_msg=key)
            else:
                np.testing.assert_array_equal(found[key], expected[key])


def test_the_second_of_two_processes_is_told_who_is_first(start, folder):
    first = start(*FLAGS)
    wait_for_rows(first, folder, 2)
    _, err = ended(start(*FLAGS), 1)
    assert err.startswith(f"error: {folder} is in use by process {first.pid} on ")
    assert err.count("\n") == 1
    ended(first, 3)


SHORT = {"run.num_steps": 16, "problem.breaks": 5, "problem.breaks_at": 6}
SHORT_FLAGS = [f"--config.{field}={value}" for field, value in SHORT.items()] + ["--checkpoint_steps=8"]


@pytest.fixture(scope="module")
def short_run(tmp_path_factory, environment):
    """Bytes of a short run, and how many writes it makes."""
    root = tmp_path_factory.mktemp("short")
    done = run_alone(KILLED, root, [*SHORT_FLAGS, "0"], environment)
    return bytes_of(rundir.find(CONFIG, root, SHORT)), int(done.stdout.split()[-1])


def test_killed_in_the_middle_of_some_writes(start, root, short_run):
    """One directory, killed at a later write each time; all writes are tried below."""
    expected, writes = short_run
    for fatal in (2, writes // 3, writes // 2):
        ended(start(*SHORT_FLAGS, fatal, script=KILLED), -signal.SIGKILL)
    ended(start(*SHORT_FLAGS), 3)
    assert bytes_of(rundir.find(CONFIG, root, SHORT)) == expected


@pytest.mark.slow
def test_killed_in_the_middle_of_every_write(start, tmp_path, short_run):
    expected, writes = short_run
    for fatal in range(1, writes + 1):
        root = tmp_path / str(fatal)
        ended(start(f"--root={root}", *SHORT_FLAGS, fatal, script=KILLED), -signal.SIGKILL)
        ended(start(f"--root={root}", *SHORT_FLAGS), 3)
        assert bytes_of(rundir.find(CONFIG, root, SHORT)) == expected, fatal
        assert not list(rundir.find(CONFIG, root, SHORT).glob(".*.tmp")), fatal
