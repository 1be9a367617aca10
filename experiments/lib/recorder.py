"""Run directories, as they are written. The layout is told in `experiments.lib.rundir`.

Every file is replaced whole or appended in units that a reader can tell from a torn one, and `metrics.jsonl`,
`curves.npz` and `results.npz` hold no clock: a run that was killed and resumed ends with the bytes of one that was not.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lib import files, provenance, rows, rundir
from experiments.lib.config import Resolved
from experiments.lib.errors import RunError
from experiments.lib.journal import Journal, Row, read_rows, stack

if TYPE_CHECKING:
    from experiments.lib.driver import Controls

__all__ = ["Recorder"]


class _Results(dict):
    """The arrays given so far; calling it adds some and writes `results.npz`."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def __call__(self, **arrays) -> None:
        self.update({name: np.asarray(array) for name, array in arrays.items()})
        files.replace(self._path, files.npz_bytes(self))


class Recorder(rundir.Run):
    """A run directory in the making; reads like a `rundir.Run`, so that panels can draw it.

    Attributes:
      controls: how `driver.drive` is to save and stop; set by the command line.
      log_path: file of what is said.
    """

    def __init__(self, path: Path, resolved: Resolved, command: str, allow_new_revision: bool):
        super().__init__(path)
        self.controls: Controls | None = None
        self.log_path = path / "log.txt"
        self._journal = Journal(path / "curves.journal")
        self._rows: list[Row] = []
        self._timing: list[dict] = []
        self._curves: dict[str, np.ndarray] | None = None
        self._results = _Results(path / "results.npz")
        self._began = time.monotonic()
        self._earlier_seconds = 0.0
        self._meta = self._reopened(resolved, command, allow_new_revision)
        if not (path / "config.json").exists():
            files.replace(path / "config.json", resolved.text)
        elif (path / "config.json").read_text() != resolved.text:
            raise RunError(f"{path}/config.json is not the config of this command; use --overwrite or another --root.")
        self._write_meta()

    # What it was asked to do, by whom, and how far it came.

    def _reopened(self, resolved: Resolved, command: str, allow_new_revision: bool) -> dict[str, Any]:
        code = provenance.revision()
        if (self.path / "meta.json").exists():
            meta = rundir.Run(self.path).meta
            if meta["git_revision"] != code.name and not allow_new_revision:
                raise RunError(
                    f"{self.path} was begun by revision {meta['git_revision'][:12]} and this is {code.name[:12]}"
                    f"{' with changes' if code.dirty else ''}; use --allow_new_revision to resume it or --overwrite."
                )
            last = meta["attempts"][-1]
            last["why"] = last["why"] or "killed"
            self._earlier_seconds = sum(attempt["wall_seconds"] for attempt in meta["attempts"])
        else:
            meta = {
                "schema": rundir.SCHEMA, "experiment": resolved.config.experiment, "config_path": _short(resolved.path),
                "config_arg": resolved.arg, "start": _now(), "compile_seconds": 0.0, "axes": {}, "attempts": [],
            }  # fmt: skip
        if code.dirty:
            files.replace(self.path / "git.diff", code.diff)
        attempt = {
            "start": _now(), "end": None, "wall_seconds": 0.0, "from_step": 0, "to_step": 0, "why": None,
            "git_revision": code.name, "host": platform.node(), "process": os.getpid(),
        }  # fmt: skip
        meta |= {
            "command": command, "git_revision": code.name, "git_dirty": code.dirty, "versions": provenance.versions(),
            "numerics": resolved.config.numerics.to_dict(), "status": "running", "failed": [], "end": None,
        }  # fmt: skip
        meta["attempts"].append(attempt)
        return meta

    def describe(self, mesh) -> None:
        """Adds what is known once jax has started: devices, mesh, generator. Written with the first rows."""
        import jax

        self._meta |= {
            "devices": provenance.devices(),
            "mesh": {name: int(size) for name, size in mesh.shape.items()},
            "prng_impl": str(jax.config.jax_default_prng_impl),
        }

    def label_axes(self, axes: Mapping[str, tuple[str, ...]]) -> None:
        """Adds the labels of trailing axes of metrics and results, by axis name. Written with the first rows."""
        self._meta["axes"] = {name: list(labels) for name, labels in axes.items()}

    @property
    def _attempt(self) -> dict[str, Any]:
        return self._meta["attempts"][-1]

    def _write_meta(self) -> None:
        self._attempt["wall_seconds"] = round(time.monotonic() - self._began, 3)
        self._meta["wall_seconds"] = round(self._earlier_seconds + self._attempt["wall_seconds"], 3)
        files.replace(self.path / "meta.json", files.json_text(self._meta))

    @property
    def meta(self) -> dict[str, Any]:
        """What `meta.json` holds."""
        return self._meta

    # Rows.

    def logged_steps(self) -> set[int]:
        """Steps of which the directory holds a whole row."""
        return {row.step for row in read_rows(self._journal.path)}

    def rewind(self, step: int) -> None:
        """Cuts every row after `step`: the run goes on from there."""
        self._rows = self._journal.rewind(step)
        self._timing = [row for row in rows.read_lines(self.path / "timing.jsonl") if row["step"] <= step]
        self._curves, self._meta["failed"] = None, []
        for row in self._rows:
            self._meta["failed"] += rows.new_failures(row, self._meta["failed"])
        if self._rows or any((self.path / name).exists() for name in ("metrics.jsonl", "timing.jsonl")):
            self._write_rows()
        self._attempt.update(from_step=step, to_step=step)
        self._write_meta()

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Adds a row: every replicate goes to the curves, mean and interval over the sound ones to `metrics.jsonl`.

        Args:
          step: steps done; greater than at the last row.
          metrics: name -> `[R]` or `[R, axis]`, the same names and shapes at every row.

        Raises:
          RunError: no replicate is left.
          ValueError: a metric of another shape than before, or not one row per replicate.
        """
        row = rows.row_of(step, metrics)
        rows.check(row, self._rows)
        self._journal.append(row)
        self._rows.append(row)
        self._curves = None
        new = rows.new_failures(row, self._meta["failed"])
        self._meta["failed"] += new
        rows.append(self.path / "metrics.jsonl", rows.summary(row, self._meta["failed"]))
        self._attempt["to_step"] = step
        for line in rows.told(new):
            self.say(line)
        if len(self._meta["failed"]) == len(next(iter(row.arrays.values()))):
            raise RunError(f"{self.path}: every replicate has failed by step {step}.")

    def time(self, step: int, *, seconds: float, compile_seconds: float = 0.0) -> None:
        """Adds a row of clocks: seconds of the steps since the last row, and of the compilation before them."""
        row = {"step": step, "seconds": round(seconds, 6), "compile_seconds": round(compile_seconds, 6)}
        self._timing.append(row)
        rows.append(self.path / "timing.jsonl", row)
        self._meta["compile_seconds"] = round(sum(r["compile_seconds"] for r in self._timing), 6)

    def sync(self) -> None:
        """Puts all rows on the disk, for a checkpoint that counts on them."""
        self._journal.sync()
        self._write_meta()

    def _write_rows(self) -> None:
        summaries = (rows.summary(row, self._meta["failed"]) for row in self._rows)
        files.replace(self.path / "metrics.jsonl", "".join(map(rows.text, summaries)))
        files.replace(self.path / "timing.jsonl", "".join(map(rows.text, self._timing)))

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Every row so far."""
        if self._curves is None:
            self._curves = stack(self._rows)
        return self._curves

    @property
    def results(self) -> _Results:
        """Arrays computed on the host: `run.results(name=array)` adds, `run.results["name"]` reads."""
        return self._results

    # What people look at.

    def figure(self, name: str) -> Path:
        """Path of a quick-look figure, in a folder that exists."""
        (self.path / "figures").mkdir(exist_ok=True)
        return self.path / "figures" / name

    def look(self, draw: Callable[..., None], *args: Any) -> None:
        """Draws the quick look, `draw(run, *args)`, unless this process draws none."""
        if self.controls is None or self.controls.figures:
            draw(self, *args)

    def say(self, text: str, *, to_terminal: bool = True) -> None:
        """One line (or a traceback) to stderr and the log; a full disk does not silence the first."""
        if to_terminal:
            print(text, file=sys.stderr, flush=True)
        with contextlib.suppress(OSError), open(self.log_path, "a") as file:
            file.write(f"{_now()} {text}\n")

    # Ends.

    def finish(self) -> None:
        """Writes the curves and, last, DONE."""
        if not self._rows:
            raise RunError(f"{self.path}: nothing was logged.")
        files.replace(self.path / "curves.npz", files.npz_bytes(self.curves))
        self._write_rows()
        self._end("done", "done")
        files.replace(self.path / "DONE", "")
        self._journal.path.unlink(missing_ok=True)

    def abandon(self, status: str, why: str) -> None:
        """Records an end before the last step; says nothing more if that cannot be written."""
        with contextlib.suppress(OSError):
            self._end(status, why)

    def _end(self, status: str, why: str) -> None:
        self._meta["status"] = status
        self._meta["end"] = self._attempt["end"] = _now()
        self._attempt["why"] = why
        self._write_meta()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _short(path: Path) -> str:
    from experiments.lib.config import CHECKOUT

    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else str(path)
