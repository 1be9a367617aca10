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

__all__ = ["EXIT_FAILED_REPLICATES", "AlreadyDone", "Interrupted", "RunError", "Stop", "UsageError"]

EXIT_FAILED_REPLICATES = 3


class Stop(Exception):
    """Ends the program with one line on stderr and `exit_code`."""

    exit_code = 1


class RunError(Stop):
    """The run cannot start or go on; what is on disk stays as it is."""


class AlreadyDone(RunError):
    """Another process has brought the run to its end while this one was on its way to it."""


class UsageError(Stop):
    """The command line or the config is wrong."""

    exit_code = 2


class Interrupted(Stop):
    """A signal asked the run to end; the same command resumes it.

    Attributes:
      step: at which the state was saved, by all processes of the run; None where the signal came outside of the loop.
    """

    def __init__(self, signum: int, step: int | None = None):
        self.signal_name, self.step = signal.Signals(signum).name, step
        self.exit_code = 128 + signum
        at = "" if step is None else f" at step {step}"
        super().__init__(f"stopped by {self.signal_name}{at}; the same command resumes the run")
