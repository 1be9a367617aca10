"""What an experiment exports: one compiled program, described well enough that every tool can drive it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Program", "number"]


class Program(NamedTuple):
    """An experiment as a state that advances in chunks.

    Attributes:
      init: `() -> (data, state)`, concrete and placed on the mesh; loads the data. `state` is at step 0.
      advance: `(data, state) -> (state, metrics)`, jitted; does `config.run.chunk` steps. Metrics are name -> `[R]` or
        `[R, axis]`, one entry per replicate. A replicate with a non-finite metric counts as failed.
      abstract_args: `(data, state)` as `jax.ShapeDtypeStruct` trees with shardings: enough to compile, without data.
      traced_fields: dotted config fields that enter as array values only, so that points of a sweep which differ in
        nothing else can share one compiled program.
      axes: labels of the trailing axes of metrics and results, by axis name.
    """

    init: Callable[[], tuple[Any, Any]]
    advance: Callable[[Any, Any], tuple[Any, dict[str, Any]]]
    abstract_args: tuple[Any, Any]
    traced_fields: tuple[str, ...] = ()
    axes: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  never changed


def number(config) -> np.dtype:
    """The dtype of an experiment's arithmetic."""
    return np.dtype(np.float64 if config.numerics.x64 else np.float32)
