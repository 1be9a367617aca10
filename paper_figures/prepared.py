"""Processes that have imported what experiments import, and split off a run where it is asked for.

A quick run is a few seconds of work after two of importing. Each run is still a process of its own, with its own jax,
which no other run has touched and which may fail in any way; only the imports are shared. A process with threads or
with devices cannot be split: nothing that is imported here starts either, and the kernel is asked before each run.

    python -m paper_figures.prepared        # reads command lines, JSON, from stdin; answers [exit code, output]
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, NoReturn

from experiments.lib import backend
from experiments.lib.config import CHECKOUT

__all__ = ["Processes"]

#: What most experiments import, and what takes long; whatever else a run needs it imports itself.
IMPORTS = (
    "equinox", "experiments.lib.app", "experiments.lib.checkpoint", "experiments.lib.driver", "experiments.lib.opening",
    "experiments.lib.style", "jax.experimental.pallas.tpu", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf", "optax", "scipy.optimize", "scipy.sparse", "scipy.stats",
)  # fmt: skip


class Processes:
    """Started as they are needed, used again, and ended together; `execute` may be called from several threads."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen] = []
        self._idle: list[subprocess.Popen] = []

    def execute(self, line: list[str]) -> tuple[int, str]:
        """Does `python -m module arguments` and returns its exit code and what it said, stdout and stderr together.

        Args:
          line: interpreter, "-m", module, arguments.
        """
        try:
            process = self._idle.pop()
        except IndexError:
            process = self._started()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(line[2:]) + "\n")
            process.stdin.flush()
        if answer := process.stdout.readline():
            self._idle.append(process)
            return tuple(json.loads(answer))
        code = process.wait()
        return code or 1, f"the process that was to start it ended with exit code {code}\n"

    def _started(self) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "paper_figures.prepared"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches it once, from `terminate`, and not from the terminal as well
        )
        self._all.append(process)
        return process

    def terminate(self) -> None:
        """Ends them and the runs that they are at, which save their state first."""
        for process in self._all:
            process.terminate()

    def close(self) -> None:
        """Ends them once they are done."""
        for process in self._all:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
            process.stdout.close()


class _Server:
    """One run after another, each in a process that is split off for it."""

    def __init__(self, answers) -> None:
        self._answers = answers
        self._run: int | None = None
        self._ending = False

    def serve(self, requests) -> None:
        """Answers every request; in the process of a run it raises SystemExit with the run's exit code."""
        signal.signal(signal.SIGTERM, self._end)
        for request in requests:
            with tempfile.TemporaryFile() as said:
                code = self._done(json.loads(request), said)
                said.seek(0)
                output = said.read().decode(errors="replace")
            print(json.dumps([code, output]), file=self._answers, flush=True)
            if self._ending:
                return

    def _done(self, words: list[str], said: BinaryIO) -> int:
        if not _may_split():
            process = subprocess.Popen(
                [sys.executable, "-m", *words], stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )  # fmt: skip
            self._run = process.pid
            code = process.wait()
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # it must find the run, or no run
            self._run = os.fork()
            if self._run == 0:
                self._answers.close()
                _become(words, said)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            code = os.waitstatus_to_exitcode(os.waitpid(self._run, 0)[1])
        self._run = None
        return code

    def _end(self, number: int, frame) -> None:
        if self._run is None:
            sys.exit(0)
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._run, signal.SIGTERM)


def _may_split() -> bool:
    """Only Linux tells, and elsewhere system libraries forbid it."""
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(list(threads.iterdir())) == 1


def _become(words: list[str], said: BinaryIO) -> NoReturn:
    """The run, in this process from here on."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    module, *sys.argv[1:] = words
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


def main() -> None:
    # Answers have a descriptor of their own, which no run has: what is printed while importing must not be one.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    backend.prepare_environment()
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # what is here stays: runs need not look through it, nor have copies of it
    _Server(answers).serve(sys.stdin)


if __name__ == "__main__":
    main()
