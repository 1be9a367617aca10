"""Where the points of a sweep run: processes here, an array of SLURM jobs, workloads of GKE. Nothing here imports jax.

Each launcher turns command lines into what it would submit, and submits it when asked. SLURM is spoken to by submitit,
GKE by xpk: both are the user's own installations.
"""

import importlib.util
import itertools
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.lib.errors import Interrupted, RunError, UsageError
from experiments.lib.signals import Notice

__all__ = ["LAUNCHERS", "Job", "options", "slurm", "slurm_text", "together", "xpk", "xpk_commands"]

LAUNCHERS = ("local", "slurm", "xpk")


class Job(NamedTuple):
    """A command to run, and what to call it."""

    name: str
    arguments: tuple[str, ...]  # after the interpreter


def options(given: Sequence[str], required: Sequence[str] = ()) -> dict[str, str]:
    """`key=value` texts as a dict.

    Raises:
      UsageError: a text without "=", or a required key that is missing.
    """
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--option must be key=value, got {text!r}.")
        found[key] = value
    if missing := [key for key in required if key not in found]:
        raise UsageError(f"--option {missing[0]}=... is needed by this launcher.")
    return found


def together(
    jobs: Iterable[Job], at_once: int, ended: Callable[[Job, int], None], tick: Callable[[], None], notice: Notice
) -> None:
    """Runs jobs as processes of this machine, `at_once` of them at a time.

    Args:
      jobs: each is asked for when there is room for it.
      ended: `(job, exit code)`, told of each.
      tick: called every second.
      notice: deferred by the caller.

    Raises:
      Interrupted: `notice` has received a signal; it has been passed on to the processes, and they have saved their
        states and ended.
    """
    waiting, running, told = iter(jobs), {}, time.monotonic()
    try:
        while True:
            if notice.received:
                raise Interrupted(notice.received)
            for job in itertools.islice(waiting, at_once - len(running)):
                running[job] = subprocess.Popen([sys.executable, *job.arguments], stdin=subprocess.DEVNULL)
            if not running:
                return
            for job, process in list(running.items()):
                if process.poll() is not None:
                    del running[job]
                    ended(job, process.returncode)
            if time.monotonic() - told >= 1:
                told = time.monotonic()
                tick()
            time.sleep(0.02)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def slurm_text(jobs: Sequence[Job], given: dict[str, str], log: Path) -> str:
    """The array job that `slurm` would submit, as a batch script."""
    lines = ["#!/bin/bash", f"#SBATCH --array=0-{len(jobs) - 1}", f"#SBATCH --output={log}/%A_%a.log"]
    lines += [f"#SBATCH --{key.replace('_', '-')}={value}" for key, value in given.items()]
    commands = [shlex.join(["python", *job.arguments]) for job in jobs]
    cases = [f"  {number}) {command} ;;" for number, command in enumerate(commands)]
    return "\n".join([*lines, "case $SLURM_ARRAY_TASK_ID in", *cases, "esac"])


def slurm(jobs: Sequence[Job], given: dict[str, str], log: Path) -> list[str]:
    """Submits the array through submitit; returns the jobs' numbers.

    Raises:
      RunError: submitit is not installed.
    """
    if importlib.util.find_spec("submitit") is None:
        raise RunError("--launcher=slurm --submit needs submitit (pip install submitit).")
    import submitit

    executor = submitit.SlurmExecutor(folder=log)
    executor.update_parameters(**given)
    submitted = executor.map_array(
        lambda job: subprocess.run([sys.executable, *job.arguments], cwd=os.getcwd(), check=True), jobs
    )
    return [job.job_id for job in submitted]


def xpk_commands(jobs: Sequence[Job], given: dict[str, str]) -> list[list[str]]:
    """One `xpk workload create` a job. `given` needs `cluster` and `tpu-type`."""
    flags = [f"--{key}={value}" for key, value in given.items()]
    return [
        ["xpk", "workload", "create", f"--workload={job.name}", *flags]
        + [f"--command={shlex.join(['python', *job.arguments])}"]
        for job in jobs
    ]


def xpk(jobs: Sequence[Job], given: dict[str, str]) -> None:
    """Submits the workloads.

    Raises:
      RunError: xpk is not installed, or refuses one.
    """
    if shutil.which("xpk") is None:
        raise RunError("--launcher=xpk --submit needs xpk (pip install xpk).")
    for command in xpk_commands(jobs, given):
        code = subprocess.run(command, check=False).returncode
        if code:
            raise RunError(f"{shlex.join(command[:4])} ended with code {code}; later jobs are not submitted.")
