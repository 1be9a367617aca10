"""One process per run directory."""

import contextlib
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from experiments.lib.errors import RunError

__all__ = ["held", "is_held"]

#: `is_held` takes the lock for an instant: whoever finds it taken looks again before believing it.
_LOOKS, _BETWEEN_SECONDS = 5, 0.02


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds `folder/.lock`; the kernel lets go of it when this process ends, however it ends.

    Raises:
      RunError: another process holds it; names that process.
    """
    with open(folder / ".lock", "a+") as file:
        if not _taken(file):
            file.seek(0)
            raise RunError(f"{folder} is in use by {file.read().strip() or 'another process'}.")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def _taken(file: TextIO) -> bool:
    for look in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_SECONDS if look < _LOOKS - 1 else 0.0)
        else:
            return True
    return False


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
