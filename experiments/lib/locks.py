"""One process per run directory."""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from experiments.lib.errors import RunError

__all__ = ["held", "is_held"]


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds `folder/.lock`; the kernel lets go of it when this process ends, however it ends.

    Raises:
      RunError: another process holds it; names that process.
    """
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RunError(f"{folder} is in use by {file.read().strip() or 'another process'}.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds `folder/.lock`."""
    try:
        with open(folder / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
