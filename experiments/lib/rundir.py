"""Run directories, as they are read: `<root>/<family>/<question>/<config>-<hash8>/`.

    config.json     resolved config, sorted keys; the hash is taken of this text
    meta.json       schema, code, versions, devices, mesh, numerics, clocks, status, failed replicates, attempts
    metrics.jsonl   per logged step: mean, ci95 (half width of Student's interval), n; no clock in it
    timing.jsonl    seconds and compile_seconds; what may differ between two equal runs lives here
    curves.npz      every replicate of every metric, [points, R] or [points, R, axis], and "step"
    results.npz     arrays computed on the host after the last step
    checkpoints/    the last two
    figures/        quick look
    log.txt         what was said, with the tracebacks
    DONE            written last

Writing them is the business of `experiments.lib.recorder`. Nothing here imports jax.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from experiments.lib import config as config_lib
from experiments.lib import files, journal, locks
from experiments.lib.errors import RunError

__all__ = ["SCHEMA", "UPGRADES", "Run", "find", "last_end", "load", "standing"]

#: Version of the layout. A change that old directories do not follow raises it and adds an upgrade.
SCHEMA = 1

#: version -> function of (meta, config), both plain dicts, that returns them as the next version has them.
UPGRADES: dict[int, Callable[[dict, dict], tuple[dict, dict]]] = {}


class Run:
    """A run directory; everything is read when it is first asked for.

    Attributes:
      path: the directory.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def id(self) -> str:
        """`<config>-<hash8>`."""
        return self.path.name

    @property
    def name(self) -> str:
        """Name of the config."""
        return self.path.name.rpartition("-")[0]

    @functools.cached_property
    def _upgraded(self) -> tuple[dict, dict]:
        meta, config = (json.loads((self.path / f"{name}.json").read_text()) for name in ("meta", "config"))
        while (version := meta["schema"]) != SCHEMA:
            if version not in UPGRADES:
                raise RunError(f"{self.path} has schema {version}, and this code reads up to schema {SCHEMA}.")
            meta, config = UPGRADES[version](meta, config)
            meta["schema"] = version + 1
        return meta, config

    @property
    def meta(self) -> dict[str, Any]:
        """What `meta.json` says, upgraded to this schema."""
        return self._upgraded[0]

    @functools.cached_property
    def config(self) -> ml_collections.ConfigDict:
        """The resolved config, locked; tuples have become lists."""
        return ml_collections.ConfigDict(self._upgraded[1]).lock()

    @property
    def finished(self) -> bool:
        """Whether the run has reached its end."""
        return (self.path / "DONE").exists()

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Replicates that became non-finite: `{"replicate", "step", "metric"}`, in the order in which they did."""
        return self.meta["failed"]

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Labels of the trailing axes of curves, by axis name."""
        return {name: tuple(labels) for name, labels in self.meta["axes"].items()}

    @functools.cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """Name -> `[points, R]` or `[points, R, axis]`, and "step" `[points]`; of an unfinished run, so far."""
        if (self.path / "curves.npz").exists():
            return files.read_npz(self.path / "curves.npz")
        return journal.stack(journal.read_rows(self.path / "curves.journal"))

    @functools.cached_property
    def results(self) -> dict[str, np.ndarray]:
        """What the experiment computed on the host after its last step; empty before."""
        path = self.path / "results.npz"
        return files.read_npz(path) if path.exists() else {}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def load(path: Path | str) -> Run:
    """Opens a run directory for reading, finished or not.

    Raises:
      RunError: there is none, or it was written by a newer version of this code.
    """
    run = Run(path)
    if not (run.path / "meta.json").is_file():
        raise RunError(f"no run at {run.path}.")
    run.meta  # noqa: B018  an unreadable schema is told here, not in the middle of a figure
    return run


def find(reference: str, root: Path | str = "runs", overrides: dict[str, Any] | None = None) -> Path:
    """Where the run of a config (`path.py[:arg]`) lives under `root`, whether it exists or not."""
    return Path(root) / config_lib.resolve(reference, overrides).directory


def standing(folder: Path) -> str:
    """How a run stands: missing, running, killed, interrupted, failed or done."""
    if (folder / "DONE").exists():
        return "done"
    try:
        status = json.loads((folder / "meta.json").read_text())["status"]
    except FileNotFoundError:
        return "missing"
    if status != "running":
        return status
    return "running" if locks.is_held(folder) else "killed"


def last_end(folder: Path, meta: dict[str, Any]) -> str:
    """Why the last attempt ended, without the directory's own name in it; "" where it has not, or was killed."""
    return (meta["attempts"][-1]["why"] or "").replace(f"{folder}: ", "")
