"""What became of a run, recorded inside the program and checked outside it.

An algorithm never raises on values: under `vmap` one bad element must not take its batch down. It returns a status,
`check` raises on the host.
"""

import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Bool, Int

__all__ = ["Status", "check", "combine", "is_finite", "of"]


class Status(enum.IntEnum):
    """Codes from best to worst: the worst of several is their maximum."""

    OK = 0  # ran its steps; nothing to converge to
    CONVERGED = 1  # met its stopping rule
    BUDGET = 2  # used up its steps before the stopping rule held
    DIVERGED = 3  # left the region where the guarantee holds
    NONFINITE = 4  # a state holds NaN or infinity


def is_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every floating leaf is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])) if leaves else jnp.asarray(True)


def of(state: Any, converged: Bool[Array, ""] | None = None) -> Int[Array, ""]:
    """The status of a state: NONFINITE, or OK; with `converged` CONVERGED or BUDGET instead of OK."""
    fine = jnp.int32(Status.OK) if converged is None else jnp.where(converged, Status.CONVERGED, Status.BUDGET)
    return jnp.where(is_finite(state), fine, Status.NONFINITE).astype(jnp.int32)


def combine(*statuses: Int[Array, "..."]) -> Int[Array, "..."]:
    """The worst of several statuses, elementwise."""
    return jnp.stack(jnp.broadcast_arrays(*statuses)).max(axis=0)


def check(result: Any) -> None:
    """Raises FloatingPointError if a run, or an element of a batch of runs, diverged or became non-finite.

    Args:
      result: anything with a `status`, of any shape; a `state.step` of the same shape is named in the message.
    """
    codes = np.asarray(result.status)
    bad = np.argwhere(codes >= Status.DIVERGED)
    if not len(bad):  # a scalar status has an index of no entries, so `size` is always 0
        return
    index = tuple(int(i) for i in bad[0])
    where = f"batch element {index if len(index) > 1 else index[0]}" if index else "the run"
    step = getattr(getattr(result, "state", None), "step", None)
    at = f" by step {int(np.asarray(step)[index])}" if step is not None and np.shape(step) == codes.shape else ""
    more = f" ({len(bad)} of {codes.size} elements are bad)" if len(bad) > 1 else ""
    raise FloatingPointError(f"status {Status(int(codes[index])).name}: {where}{at}{more}.")
