"""Processes that are one run: the same bytes as one process, ends that all share, and nobody who runs alone."""

import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from experiments.lib import hosts, locks, rundir
from experiments.lib.config import CHECKOUT
from experiments.lib.errors import UsageError
from research.core import prng

CONFIG = "tests/experiments/toy/configs/walk.py"
#: Twenty chunks, saved on a signal only.
LONG = {"run.num_steps": 100_000, "run.chunk": 5_000}
FLAGS = [f"--config.{field}={value}" for field, value in LONG.items()] + ["--checkpoint_minutes=60"]
SAME = ("metrics.jsonl", "curves.npz", "results.npz", "config.json")


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


def lines_of(text):
    """What the run said, without the lines of the library that connects the processes."""
    return [line for line in text.splitlines() if not line.startswith("[Gloo]")]


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.fixture
def folder(root):
    return rundir.find(CONFIG, root, LONG)


@pytest.fixture
def together(start):
    """Starts as many processes as there are lists of flags; they are one run."""

    def run(*each, seconds=60):
        meeting = ["--distributed", f"--coordinator=localhost:{free_port()}", f"--distributed_seconds={seconds}"]
        return [start(*FLAGS, *meeting, f"--process={i}/{len(each)}", *flags) for i, flags in enumerate(each)]

    return run


def ends(processes):
    return [(process.communicate(timeout=120), process.returncode) for process in processes]


def wait_for_rows(processes, folder, count):
    path = folder / "metrics.jsonl"
    while not path.exists() or path.read_text().count("\n") < count:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, environment):
    """Bytes of the run by one process."""
    root = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "tests/experiments/toy/walk.py", f"--root={root}", *FLAGS]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    return bytes_of(rundir.find(CONFIG, root, LONG))


def test_four_processes_in_two_slices_each_of_two_are_one_run(together, folder, undisturbed):
    """Draws are the same to the bit, and so, here, is all that is computed from them."""
    for (out, err), code in ends(together(*[["--mesh=rep:4,data:1", "--dcn=rep:4", "--quiet"]] * 4)):
        assert (code, lines_of(out), lines_of(err)) == (0, [], [])
    assert bytes_of(folder) == undisturbed
    meta = rundir.load(folder).meta
    assert (meta["devices"]["count"], meta["devices"]["processes"]) == (4, 4)
    assert {path.name for path in folder.iterdir()} >= {"DONE", "figures", "timing.jsonl"}
    (out, _), code = ends(together(["--mesh=rep:-1"], ["--mesh=rep:-1"]))[0]
    assert (code, out) == (0, f"{folder}\n")  # finished is finished, and nobody waits


def test_a_signal_to_one_stops_all_and_other_numbers_of_processes_go_on(together, start, folder, undisturbed):
    running = together(*[["--mesh=rep:-1"]] * 4)
    wait_for_rows(running, folder, 3)
    running[2].send_signal(signal.SIGTERM)
    for (_, err), code in ends(running):
        assert code == 143
        assert re.fullmatch(r"error: stopped by SIGTERM at step \d+; the same command resumes .*", lines_of(err)[-1])
    running = together(*[["--mesh=rep:-1", "--cpu_devices=2"]] * 2)
    step = rundir.load(folder).meta["attempts"][-1]["to_step"]
    wait_for_rows(running, folder, step // LONG["run.chunk"] + 2)
    running[0].send_signal(signal.SIGTERM)
    (_, err), code = ends(running)[0]
    assert code == 143
    assert f"resumes {folder} at step {step}" in err
    out, err = start(*FLAGS).communicate(timeout=120)
    assert (out, f"resumes {folder} at step " in err) == (f"{folder}\n", True)
    assert bytes_of(folder) == undisturbed
    assert "resumes" in (folder / "log-1.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "mesh"), [("matching.rewards", "rep:2"), ("balancing.lm_schedules", "rep:1,data:2")]
)
def test_real_experiments_are_one_run(environment, tmp_path, experiment, mesh):
    """Replicates over two processes, and one replicate's tokens and experts."""
    reference = f"configs/{experiment.replace('.', '/')}.py:quick"
    command = [sys.executable, "-m", f"experiments.{experiment}", f"--config={reference}", f"--mesh={mesh}", "--quiet"]

    def begin(root, *flags):
        return subprocess.Popen([*command, f"--root={tmp_path / root}", *flags], cwd=CHECKOUT, env=environment)

    assert begin("one", "--cpu_devices=2").wait() == 0
    meeting = ["--distributed", f"--coordinator=localhost:{free_port()}"]
    both = [begin("two", *meeting, f"--process={i}/2") for i in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    one, two = (rundir.load(rundir.find(reference, tmp_path / root)).curves for root in ("one", "two"))
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_process_that_dies_takes_all_down_and_the_same_command_goes_on(together, folder, undisturbed):
    flags = ["--mesh=rep:-1", "--checkpoint_minutes=0"]
    running = together(flags, flags, seconds=15)
    wait_for_rows(running, folder, 4)
    running[1].kill()
    began = time.monotonic()
    (_, code), (_, killed) = ends(running)
    assert (code != 0, killed) == (True, -signal.SIGKILL)
    assert time.monotonic() - began < 60
    (_, err), code = ends(together(flags, flags))[0]
    assert (code, f"resumes {folder} at step " in err) == (0, True)
    assert bytes_of(folder) == undisturbed


@pytest.mark.parametrize(
    ("process", "what"),
    [("1/2", "process 1 of 2 found no coordinator with all others at"), ("0/2", "not all of the 2 processes came to")],
)
def test_a_process_whose_others_do_not_come_never_runs_alone(start, root, process, what):
    flags = ["--distributed", "--coordinator=localhost:45199", f"--process={process}", "--distributed_seconds=2"]
    out, err = (alone := start(*FLAGS, *flags)).communicate(timeout=60)
    assert (alone.returncode, out, root.exists()) == (1, "", False)
    assert re.fullmatch(
        rf"error: --distributed: {what} localhost:45199 \([\d.:, ]+\), waited 2 s \(--distributed_seconds\).\n", err
    )


def test_without_a_cluster_the_address_is_asked_for(start, root):
    out, err = (alone := start(*FLAGS, "--distributed")).communicate(timeout=60)
    assert (alone.returncode, out, root.exists()) == (1, "", False)
    assert err.startswith("error: --distributed: no cluster tells where to meet (")
    assert err.endswith("; give --coordinator=host:port and --process=i/n.\n")


def test_what_one_cannot_do_none_does(together, root, folder, tmp_path):
    (_, first), (_, second) = ends(together(["--mesh=rep:-1"], ["--mesh=rep:-1", f"--root={tmp_path}/elsewhere"]))
    assert (first, second) == (1, 1)
    folder.mkdir(parents=True, exist_ok=True)
    with locks.held(folder):
        told = ends(together(["--mesh=rep:-1"], ["--mesh=rep:-1"]))
    for ((_, err), code), prefix in zip(told, ("", "process 0: "), strict=True):
        assert code == 1
        assert lines_of(err)[-1].startswith(f"error: {prefix}{folder} is in use by process ")
    for (_, err), code in ends(together(["--mesh=rep:1"], ["--mesh=rep:1"])):
        assert code == 1
        assert lines_of(err)[-1] == (
            "error: --mesh=rep:1 takes 1 devices, and 2 processes have 2: a run of several processes takes them all."
        )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coordinator=a:1"], "--coordinator and --process go with --distributed."),
        (["--distributed", "--coordinator=a:1"], "--coordinator and --process are given together, or both are left"),
        (["--distributed", "--coordinator=a", "--process=0/2"], "--coordinator must be host:port, got 'a'."),
        (["--distributed", "--coordinator=a:0", "--process=0/2"], "--coordinator must be host:port, got 'a:0'."),
        (["--distributed", "--coordinator=a:1", "--process=2/2"], "--process must be i/n with 0 <= i < n and n > 1,"),
        (["--distributed", "--coordinator=a:1", "--process=0/1"], "--process must be i/n with 0 <= i < n and n > 1,"),
        (["--dcn=data:2"], "--dcn gives numbers of slices to axes of --mesh=rep:1, got 'data:2'."),
        (["--mesh=rep:6", "--dcn=rep:4"], "--dcn=rep:4 must divide --mesh=rep:6: 6 is no multiple of 4."),
    ],
)
def test_flags_are_refused_in_one_line(launch, flags, message):
    ended = launch(*flags)
    assert ended.code == UsageError.exit_code
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1


def test_a_slice_that_is_not_there_is_told(launch):
    ended = launch("--mesh=rep:2", "--dcn=rep:2", "--cpu_devices=0")
    assert ended.code == 1
    assert "needs 2 devices" in ended.err or "is for 2 slices, and there is 1" in ended.err


def test_of_one_process_everything_is_a_matter_of_course():
    assert (hosts.index(), hosts.count()) == (0, 1)
    np.testing.assert_array_equal(hosts.agree([3, 4]), [[3, 4]])
    assert hosts.from_first("text") == "text"
    assert hosts.in_turn(lambda: "first", lambda: pytest.fail("there are no others")) == "first"
    with pytest.raises(ValueError, match="mine"):
        hosts.settle(ValueError("mine"))
    tree = {"x": jax.numpy.ones(3), "key": prng.root_key(0)}
    assert hosts.local(tree) is tree
    assert hosts.leave(3, together=False) == 3
