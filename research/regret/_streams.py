"""Rows of a problem's time-indexed arrays, selected by the step counter of a state."""

import jax.numpy as jnp
import numpy as np

from research.core import validate

__all__ = ["only_counted", "require_rows", "row", "rows"]


def rows(stream, step, num_steps, *, fill):
    """Rows `[step, step + num_steps)` of `stream [T, ...]`; rows past the end hold `fill`, never the last row again."""
    return jnp.asarray(stream).at[step + jnp.arange(num_steps)].get(mode="fill", fill_value=fill)


def row(stream, step, *, fill):
    """Row `step` of `stream [T, ...]`, or `fill` past the end."""
    return jnp.asarray(stream).at[step].get(mode="fill", fill_value=fill)


def only_counted(values, awake):
    """NumPy `values [T, N]` with 0 for sleepers, except in rounds with nobody awake: there the prior uses them all."""
    awake = np.asarray(awake) > 0
    return np.where(awake | ~awake.any(axis=-1, keepdims=True), np.asarray(values), 0)


def require_rows(available, num_steps, step=0):
    """Raises ValueError when `num_steps` rounds from `step` would pass the `available` rounds of the problem.

    A traced `step` is not checked: rounds past the end then have NaN loss, and the run's status says so.
    """
    validate.steps_left(num_steps, available, step, " (the problem has {available} rounds, {done} are done)")
