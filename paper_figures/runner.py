"""Runs experiments as processes of their own, a few at a time, and goes on when one fails."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from experiments.lib import backend, provenance
from paper_figures import prepared
from paper_figures.catalog import Needed

__all__ = ["Outcome", "command", "default_jobs", "run_all"]


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
      needed: the run.
      exit_code: of its process.
      seconds: of wall time.
      output: what it said, stdout and stderr together.
    """

    needed: Needed
    exit_code: int
    seconds: float
    output: str


def default_jobs() -> int:
    """One where an accelerator would be shared, else one per core up to four."""
    shared = backend.tpu_present() or backend.gpu_plausible()
    return 1 if shared else max(1, min(os.cpu_count() or 1, 4))


def command(needed: Needed, root: Path, revision: str | None = None) -> list[str]:
    """What to type to do this run. One that another revision of the code began is started again from nothing, since
    resuming it would mix the two; `revision` is the present one."""
    line = [sys.executable, "-m", f"experiments.{needed.resolved.config.experiment}"]
    line += [f"--config={needed.reference}", f"--root={root}"]
    if revision is not None and _begun_by(needed.directory) not in (None, revision):
        line.append("--overwrite")
    return line


def _begun_by(directory: Path) -> str | None:
    try:
        return json.loads((directory / "meta.json").read_text())["git_revision"]
    except (OSError, ValueError, KeyError):
        return None


def run_all(
    runs: Sequence[Needed], root: Path, *, jobs: int, execute: Callable[[list[str]], tuple[int, str]] | None = None
) -> Iterator[Outcome]:
    """Executes the runs, `jobs` at a time, each directory once; yields outcomes as they come.

    `execute` takes a command and returns exit code and output; by default a process of its own in the checkout, split
    off from one that has imported what experiments import. Interrupting the iteration ends the processes that it
    started, which save their state first.
    """
    unique = list({needed.directory: needed for needed in runs}.values())
    revision = provenance.revision().name
    processes = prepared.Processes()
    execute = execute or (lambda line: _execute(line, processes))

    def run(needed: Needed) -> Outcome:
        began = time.monotonic()
        exit_code, output = execute(command(needed, root, revision))
        return Outcome(needed, exit_code, time.monotonic() - began, output)

    with contextlib.closing(processes), ThreadPoolExecutor(jobs) as pool:
        pending: set[Future[Outcome]] = {pool.submit(run, needed) for needed in unique}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            for future in pending:
                future.cancel()
            processes.terminate()
            raise


def _execute(line: list[str], processes: prepared.Processes) -> tuple[int, str]:
    return processes.execute(line)
