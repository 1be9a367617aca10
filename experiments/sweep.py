"""Expands a sweep into points, each of which is an ordinary run.

    python -m experiments.sweep configs/regret/sweeps/regularization.py --list
    python -m experiments.sweep configs/regret/sweeps/regularization.py | sh

A sweep file names the config it varies and returns its points; the helpers are passed in:

    CONFIG = "configs/regret/synthetic.py"
    def get_sweep(h):
        return h.product({"seed": range(32)}, h.zipped({"algo.regularization": (0.1, 1.0), "run.chunk": (512, 1024)}))
"""

import argparse
import itertools
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.lib import config as config_lib
from experiments.lib.errors import Stop, UsageError

__all__ = ["Helpers", "Point", "expand"]

Overrides = dict[str, Any]


class Point(NamedTuple):
    """One run of a sweep.

    Attributes:
      overrides: dotted field -> value.
      resolved: the config with the overrides applied.
      command: what runs it.
    """

    overrides: Overrides
    resolved: config_lib.Resolved
    command: str


class Helpers:
    """What a sweep file builds its points with; a list of points is a list of field -> value."""

    @staticmethod
    def product(*factors: Mapping[str, Iterable] | Sequence[Overrides]) -> list[Overrides]:
        """Every combination of the factors; the last varies fastest.

        Args:
          *factors: field -> values, each field a factor of its own; or a list of points, which is one factor.

        Raises:
          UsageError: a field that two factors set.
        """
        lists: list[list[Overrides]] = []
        for factor in factors:
            if isinstance(factor, Mapping):
                lists += [[{field: value} for value in values] for field, values in factor.items()]
            else:
                lists.append(list(factor))
        return [_merged(combination) for combination in itertools.product(*lists)]

    @staticmethod
    def zipped(fields: Mapping[str, Iterable]) -> list[Overrides]:
        """Fields that vary together: point i takes the i-th value of each.

        Raises:
          UsageError: fields with different numbers of values.
        """
        columns = {field: list(values) for field, values in fields.items()}
        lengths = {field: len(values) for field, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise UsageError(f"zipped fields must have equally many values, got {lengths}.")
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _merged(combination: Iterable[Overrides]) -> Overrides:
    merged: Overrides = {}
    for overrides in combination:
        if twice := merged.keys() & overrides.keys():
            raise UsageError(f"two factors of the sweep set {', '.join(sorted(twice))}.")
        merged |= overrides
    return merged


def expand(reference: str) -> list[Point]:
    """The points of a sweep file, every one of them checked.

    Raises:
      UsageError: no such file, no CONFIG, no point, a field or a value that the config refuses, or two equal points.
    """
    path, arg = config_lib.find(reference)
    if arg:
        raise UsageError(f"a sweep takes no argument, got {arg!r}.")
    module = config_lib.load_module(path, "get_sweep")
    base = getattr(module, "CONFIG", None)
    if not isinstance(base, str):
        raise UsageError(f'{reference} must name the config that it varies: CONFIG = "configs/...".')
    points, seen = [], {}
    for overrides in module.get_sweep(Helpers()):
        resolved = config_lib.resolve(base, overrides)
        if resolved.directory in seen:
            raise UsageError(f"{reference} has two equal points: {seen[resolved.directory]} and {overrides}.")
        seen[resolved.directory] = overrides
        changes = [f"--config.{field}={value}" for field, value in overrides.items()]
        command = ["python", "-m", f"experiments.{resolved.config.experiment}", f"--config={base}", *changes]
        points.append(Point(overrides, resolved, shlex.join(command)))
    if not points:
        raise UsageError(f"{reference} has no points.")
    return points


def _state(folder: Path) -> str:
    return "done" if (folder / "DONE").exists() else "unfinished" if (folder / "meta.json").exists() else "missing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the commands of unfinished points, or with --list all points and how they stand; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("sweep", help="sweep file, such as configs/regret/sweeps/regularization.py")
    parser.add_argument("--root", default="runs", help="folder of all run directories (default: runs)")
    parser.add_argument("--list", action="store_true", help="every point: state, directory, fields")
    given = parser.parse_args(arguments)
    try:
        points = expand(given.sweep)
    except Stop as stop:
        print(f"error: {stop}", file=sys.stderr)
        return stop.exit_code
    for point in points:
        folder = Path(given.root) / point.resolved.directory
        if given.list:
            print(f"{_state(folder):<10} {folder}  {' '.join(f'{k}={v}' for k, v in point.overrides.items())}")
        elif _state(folder) != "done":
            print(point.command + ("" if given.root == "runs" else f" --root={shlex.quote(given.root)}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
