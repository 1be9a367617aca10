"""Run directories, as they are written. The layout is told in `experiments.lib.rundir`.

Every file is replaced whole or appended in units that a reader can tell from a torn one, and `metrics.jsonl`,
`curves.npz` and `results.npz` hold no clock: a run that was killed and resumed ends with the bytes of one that was not.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lib import files, locks, provenance, rundir
from experiments.lib.command import one_line
from experiments.lib.config import Resolved
from experiments.lib.errors import AlreadyDone, Interrupted, RunError
from experiments.lib.journal import Journal, Row, read_rows, stack

if TYPE_CHECKING:
    from experiments.lib.driver import Controls

__all__ = ["Recorder", "ends_recorded", "following", "opened"]


class _Results(dict):
    """The arrays given so far; calling it adds some and writes `results.npz`."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def __call__(self, **arrays) -> None:
        self.update({name: np.asarray(array) for name, array in arrays.items()})
        files.replace(self._path, files.npz_bytes(self))


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
        self._timing = [row for row in _json_lines(self.path / "timing.jsonl") if row["step"] <= step]
        self._curves, self._meta["failed"] = None, []
        for row in self._rows:
            self._note_failures(row)
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
        row = Row(step, {name: _storable(metrics[name]) for name in sorted(metrics)})
        self._check_shapes(row)
        before = len(self._meta["failed"])
        self._journal.append(row)
        self._rows.append(row)
        self._curves = None
        self._note_failures(row)
        _append(self.path / "metrics.jsonl", self._summary(row))
        self._attempt["to_step"] = step
        for line in _told(self._meta["failed"][before:]):
            self.say(line)
        if len(self._meta["failed"]) == self._num_replicates:
            raise RunError(f"{self.path}: every replicate has failed by step {step}.")

    def time(self, step: int, *, seconds: float, compile_seconds: float = 0.0) -> None:
        """Adds a row of clocks: seconds of the steps since the last row, and of the compilation before them."""
        row = {"step": step, "seconds": round(seconds, 6), "compile_seconds": round(compile_seconds, 6)}
        self._timing.append(row)
        _append(self.path / "timing.jsonl", row)
        self._meta["compile_seconds"] = round(sum(r["compile_seconds"] for r in self._timing), 6)

    def sync(self) -> None:
        """Puts all rows on the disk, for a checkpoint that counts on them."""
        self._journal.sync()
        self._write_meta()

    @property
    def _num_replicates(self) -> int:
        return len(next(iter(self._rows[0].arrays.values())))

    def _check_shapes(self, row: Row) -> None:
        layout = {name: a.shape for name, a in row.arrays.items()}
        if "step" in layout or not layout:
            raise ValueError(f"metrics must be named, and not 'step', got {sorted(layout)}.")
        first = self._rows[0] if self._rows else row
        if layout != {name: a.shape for name, a in first.arrays.items()}:
            raise ValueError(f"metrics must keep their names and shapes, got {layout} at step {row.step}.")
        if any(len(shape) not in (1, 2) for shape in layout.values()) or len({s[0] for s in layout.values()}) != 1:
            raise ValueError(f"metrics must have the shape [R] or [R, axis], got {layout}.")
        if self._rows and row.step <= self._rows[-1].step:
            raise ValueError(f"step must grow, got {row.step} after {self._rows[-1].step}.")

    def _note_failures(self, row: Row) -> None:
        known = {failure["replicate"] for failure in self._meta["failed"]}
        for name, values in row.arrays.items():
            sound = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            for replicate in map(int, np.flatnonzero(~sound)):
                if replicate not in known:
                    known.add(replicate)
                    self._meta["failed"].append({"replicate": replicate, "step": row.step, "metric": name})

    def _summary(self, row: Row) -> dict[str, Any]:
        """Mean, ci95, n per metric, over the replicates that are finite at this row and were at all rows before."""
        from research.core import stats

        sound = np.ones(self._num_replicates, bool)
        sound[[f["replicate"] for f in self._meta["failed"] if f["step"] <= row.step]] = False
        summary: dict[str, Any] = {"step": row.step}
        for name, values in row.arrays.items():
            mean, half = None, None
            if sound.any():
                with np.errstate(all="ignore"):  # finite values may still overflow in a variance: null below
                    interval = stats.t_interval(values[sound])
                    mean, half = _jsonable(interval.mean), _jsonable(interval.high - interval.mean)
            summary |= {name: mean, f"{name}/ci95": half, f"{name}/n": int(sound.sum())}
        return summary

    def _write_rows(self) -> None:
        files.replace(self.path / "metrics.jsonl", "".join(_line(self._summary(row)) for row in self._rows))
        files.replace(self.path / "timing.jsonl", "".join(_line(row) for row in self._timing))

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


def _storable(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "V":  # bfloat16 and its like have no .npy form
        return array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"metrics must be real numbers, got dtype {array.dtype}.")
    return array


def _jsonable(value: np.ndarray) -> Any:
    """Numbers and nested lists of them, with null for what is not finite."""
    return np.where(np.isfinite(value), value, None).tolist()


def _told(failures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Failures at one step, a line per metric: thousands of replicates may fail at once."""
    for metric, group in itertools.groupby(failures, lambda failure: failure["metric"]):
        step, who = failures[0]["step"], [failure["replicate"] for failure in group]
        names = ", ".join(map(str, who[:4])) + (f" and {len(who) - 4:,} more" if len(who) > 4 else "")
        subject, left = (f"replicate {names}", "it is") if len(who) == 1 else (f"replicates {names}", "they are")
        yield f"{subject}: {metric} is not finite at step {step}; {left} left out of means from here on"


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(_line(row))


def _json_lines(path: Path) -> list[dict]:
    """Whole lines of a JSON-lines file; a torn last one is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
