"""Ends of a run that are told in one line, and the exit code each of them has.

| code | meaning |
|---|---|
| 0 | finished, or finished before |
| 1 | the run could not go on: disk, lock, another revision, every replicate failed |
| 2 | usage: a flag, a config or a field of it |
| 3 | finished, but some replicates failed |
| 130, 143 | stopped by SIGINT, SIGTERM after saving its state |
"""

import signal

__all__ = ["EXIT_FAILED_REPLICATES", "Interrupted", "RunError", "Stop", "UsageError"]

EXIT_FAILED_REPLICATES = 3


class Stop(Exception):
    """Ends the program with one line on stderr and `exit_code`."""

    exit_code = 1


class RunError(Stop):
    """The run cannot start or go on; what is on disk stays as it is."""


class UsageError(Stop):
    """The command line or the config is wrong."""

    exit_code = 2


class Interrupted(Stop):
    """A signal asked the run to end; the same command resumes it."""

    def __init__(self, signum: int, detail: str = ""):
        self.signal_name = signal.Signals(signum).name
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {self.signal_name}{detail}; the same command resumes the run")
