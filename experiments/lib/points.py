"""Points of a sweep: what a sweep file names, each an ordinary run. Nothing here imports jax.

A sweep file names the config it varies and returns its points; the helpers are passed in:

    CONFIG = "configs/regret/synthetic.py"
    def get_sweep(h):
        return h.product({"seed": range(32)}, h.zipped({"algo.regularization": (0.1, 1.0), "run.chunk": (512, 1024)}))
"""

import itertools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.lib import config as config_lib
from experiments.lib.errors import UsageError

__all__ = ["Helpers", "Point", "expand"]

Overrides = dict[str, Any]


class Point(NamedTuple):
    """One run of a sweep.

    Attributes:
      overrides: dotted field -> value.
      resolved: the config with the overrides applied.
      base: the config that the sweep varies, `path.py[:arg]`.
    """

    overrides: Overrides
    resolved: config_lib.Resolved
    base: str

    @property
    def arguments(self) -> list[str]:
        """What runs it, after the interpreter."""
        changes = [f"--config.{field}={value}" for field, value in self.overrides.items()]
        return ["-m", f"experiments.{self.resolved.config.experiment}", f"--config={self.base}", *changes]

    @property
    def command(self) -> str:
        """What to type to run it alone."""
        return shlex.join(["python", *self.arguments])


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


def _listed(get_sweep: Callable[[Helpers], Iterable[Overrides]], path: Path) -> list[Overrides]:
    try:
        listed = list(get_sweep(Helpers()))
    except UsageError as error:
        raise UsageError(f"get_sweep() of {path}: {error}") from error
    except Exception as error:
        raise UsageError(f"get_sweep() of {path} failed: {type(error).__name__}: {error}") from error
    for overrides in listed:
        if not isinstance(overrides, Mapping) or not all(isinstance(field, str) for field in overrides):
            raise UsageError(f"get_sweep() of {path} must return a list of field -> value, got {overrides!r} in it.")
    return listed


def expand(reference: str) -> list[Point]:
    """The points of a sweep file, every one of them checked.

    Raises:
      UsageError: no such file, a file that fails, no CONFIG, no point, a field or a value that the config refuses, or
        two equal points.
    """
    path, arg = config_lib.find(reference)
    if arg:
        raise UsageError(f"a sweep takes no argument, got {arg!r}.")
    module = config_lib.load_module(path, "get_sweep")
    base = getattr(module, "CONFIG", None)
    if not isinstance(base, str):
        raise UsageError(f'{reference} must name the config that it varies: CONFIG = "configs/...".')
    points, seen = [], {}
    for overrides in _listed(module.get_sweep, path):
        resolved = config_lib.resolve(base, overrides)
        if resolved.directory in seen:
            raise UsageError(f"{reference} has two equal points: {seen[resolved.directory]} and {overrides}.")
        seen[resolved.directory] = overrides
        points.append(Point(overrides, resolved, base))
    if not points:
        raise UsageError(f"{reference} has no points.")
    return points
