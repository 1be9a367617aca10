"""How many points of a sweep are done, and which have failed since one began to count. Nothing here imports jax."""

from collections.abc import Iterable
from pathlib import Path

from experiments.lib import rundir

__all__ = ["Tally"]


class Tally:
    """Counts points by their run directories; what failed in an earlier attempt is not counted until it fails again.

    Args:
      folders: the run directories, whether they exist or not.
    """

    def __init__(self, folders: Iterable[Path]):
        folders = list(folders)
        self._all = len(folders)
        self._before = {folder: _written(folder) for folder in folders}
        self._open = folders

    def failed(self, folder: Path) -> bool:
        """Whether an attempt at this point has failed since, here or in another process."""
        return rundir.standing(folder) == "failed" and _written(folder) != self._before[folder]

    def count(self) -> tuple[int, int]:
        """Points done in all, and points failed since."""
        self._open = [folder for folder in self._open if not (folder / "DONE").exists()]  # a done one stays so
        return self._all - len(self._open), sum(map(self.failed, self._open))


def _written(folder: Path) -> int | None:
    """When `meta.json` was last written, in nanoseconds of the file system's clock; None if there is none."""
    try:
        return (folder / "meta.json").stat().st_mtime_ns
    except FileNotFoundError:
        return None
