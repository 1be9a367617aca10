"""Rows of metrics: what they must look like, which replicates fail in them, and what is told of the sound ones."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lib.journal import Row

__all__ = ["append", "check", "new_failures", "read_lines", "row_of", "summary", "text", "told"]

Failures = Sequence[Mapping[str, Any]]


def row_of(step: int, metrics: Mapping[str, Any]) -> Row:
    """A row of arrays that can be stored, by name.

    Raises:
      ValueError: a metric that is no real number.
    """
    return Row(step, {name: _storable(metrics[name]) for name in sorted(metrics)})


def _storable(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "V":  # bfloat16 and its like have no .npy form
        return array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"metrics must be real numbers, got dtype {array.dtype}.")
    return array


def check(row: Row, before: Sequence[Row]) -> None:
    """Refuses a row that does not continue those before it.

    Raises:
      ValueError: other names or shapes than before, not one entry per replicate, or a step that is not later.
    """
    layout = {name: a.shape for name, a in row.arrays.items()}
    if "step" in layout or not layout:
        raise ValueError(f"metrics must be named, and not 'step', got {sorted(layout)}.")
    first = before[0] if before else row
    if layout != {name: a.shape for name, a in first.arrays.items()}:
        raise ValueError(f"metrics must keep their names and shapes, got {layout} at step {row.step}.")
    if any(len(shape) not in (1, 2) for shape in layout.values()) or len({s[0] for s in layout.values()}) != 1:
        raise ValueError(f"metrics must have the shape [R] or [R, axis], got {layout}.")
    if before and row.step <= before[-1].step:
        raise ValueError(f"step must grow, got {row.step} after {before[-1].step}.")


def new_failures(row: Row, failed: Failures) -> list[dict[str, Any]]:
    """`{"replicate", "step", "metric"}` of replicates that are not finite in this row and have not failed before."""
    known, found = {failure["replicate"] for failure in failed}, []
    for name, values in row.arrays.items():
        sound = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        for replicate in map(int, np.flatnonzero(~sound)):
            if replicate not in known:
                known.add(replicate)
                found.append({"replicate": replicate, "step": row.step, "metric": name})
    return found


def told(failures: Failures) -> Iterator[str]:
    """Failures at one step, a line per metric: thousands of replicates may fail at once."""
    for metric, group in itertools.groupby(failures, lambda failure: failure["metric"]):
        step, who = failures[0]["step"], [failure["replicate"] for failure in group]
        names = ", ".join(map(str, who[:4])) + (f" and {len(who) - 4:,} more" if len(who) > 4 else "")
        subject, left = (f"replicate {names}", "it is") if len(who) == 1 else (f"replicates {names}", "they are")
        yield f"{subject}: {metric} is not finite at step {step}; {left} left out of means from here on"


def summary(row: Row, failed: Failures) -> dict[str, Any]:
    """Mean, ci95, n per metric, over the replicates that are finite at this row and were at all rows before."""
    from research.core import stats

    sound = np.ones(len(next(iter(row.arrays.values()))), bool)
    sound[[f["replicate"] for f in failed if f["step"] <= row.step]] = False
    found: dict[str, Any] = {"step": row.step}
    for name, values in row.arrays.items():
        mean, half = None, None
        if sound.any():
            with np.errstate(all="ignore"):  # finite values may still overflow in a variance: null below
                interval = stats.t_interval(values[sound])
                mean, half = _jsonable(interval.mean), _jsonable(interval.high - interval.mean)
        found |= {name: mean, f"{name}/ci95": half, f"{name}/n": int(sound.sum())}
    return found


def _jsonable(value: np.ndarray) -> Any:
    """Numbers and nested lists of them, with null for what is not finite."""
    return np.where(np.isfinite(value), value, None).tolist()


def text(row: Mapping[str, Any]) -> str:
    """A line of JSON."""
    return json.dumps(row, allow_nan=False) + "\n"


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a line to a JSON-lines file."""
    with open(path, "a") as file:
        file.write(text(row))


def read_lines(path: Path) -> list[dict]:
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
