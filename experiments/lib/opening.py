"""Opening a run directory for writing: by one process, by others that follow it, and what is told of its end."""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from experiments.lib import files, locks
from experiments.lib.command import one_line
from experiments.lib.config import Resolved
from experiments.lib.errors import AlreadyDone, Interrupted, RunError
from experiments.lib.recorder import Recorder

__all__ = ["ends_recorded", "following", "opened"]


@contextlib.contextmanager
def opened(
    resolved: Resolved, root: Path, *, command: str, overwrite: bool = False, allow_new_revision: bool = False
) -> Iterator[Recorder]:
    """Creates or reopens the run directory of a config and holds its lock.

    Args:
      resolved: the config.
      root: folder of all runs.
      command: what to type to do this again; kept in `meta.json`.
      overwrite: start from nothing, whatever is there.
      allow_new_revision: go on although the code has changed since the run began.

    Raises:
      AlreadyDone: finished, and not to be overwritten.
      RunError: in use by another process, begun by other code, or not the directory of this config.
      OSError: cannot be written; what was there is untouched.
    """
    folder = root / resolved.directory
    folder.mkdir(parents=True, exist_ok=True)
    with locks.held(folder):
        if (folder / "DONE").exists() and not overwrite:
            raise AlreadyDone(f"{folder} is finished.")
        files.remove_temporaries(folder)
        files.replace(folder / ".writable", "")  # fails on a full disk or a read-only folder before anything is lost
        (folder / ".writable").unlink()
        if overwrite or not (folder / "meta.json").exists():
            _clear(folder)
        recorder = Recorder(folder, resolved, command, allow_new_revision)
        yield recorder


@contextlib.contextmanager
def following(resolved: Resolved, root: Path, *, command: str, process: int) -> Iterator[Recorder]:
    """A recorder for another process of a run that the first has opened: it reads and keeps the same rows.

    What it writes goes to a folder that is gone in the end; what it says, to `log-<process>.txt` beside `log.txt`.

    Raises:
      RunError: the run directory is not to be seen from here.
    """
    folder = root / resolved.directory
    if not (folder / "meta.json").exists():
        raise RunError(f"there is no {folder} on {platform.node()}; --root must be a folder that all processes share.")
    with tempfile.TemporaryDirectory(prefix="equipoise-") as scratch:
        if (folder / "curves.journal").exists():
            shutil.copy(folder / "curves.journal", scratch)
        recorder = Recorder(Path(scratch), resolved, command, allow_new_revision=True)
        recorder.log_path = folder.absolute() / f"log-{process}.txt"
        yield recorder


@contextlib.contextmanager
def ends_recorded(run: Recorder) -> Iterator[None]:
    """Writes into `meta.json` why an attempt ended, and the traceback into `log.txt`."""
    try:
        yield
    except Interrupted as stop:
        run.say(str(stop), to_terminal=False)
        run.abandon("interrupted", stop.signal_name)
        raise
    except Exception as error:
        run.say(traceback.format_exc().rstrip(), to_terminal=False)
        run.abandon("failed", f"{type(error).__name__}: {one_line(error)}")
        raise


def _clear(folder: Path) -> None:
    """Empties a directory; one that is killed half-way is no longer a run, and is emptied again."""
    for name in ("DONE", "meta.json"):
        (folder / name).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()
