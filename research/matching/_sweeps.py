"""Backward and forward sweeps over time of LP-OnOpt's dual, for several instances side by side.

Instances are the last axis of every array ("lanes", `B`): the sums over offline nodes then add whole vectors, and on a
CPU a batch of 64 takes under half the time of the layout with instances first. Time is the first axis, so that a step
reads one contiguous row. Bernoulli instances have one type.
Letters: `T` times, `J` types, `n` offline nodes, `S` = `T`, or 1 where weights do not depend on time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.dual_scan import dual_scan, steps
from research.core.types import Array, Float

__all__ = ["Audit", "Lanes", "allocate", "audit", "lanes", "load", "values"]


class Lanes(NamedTuple):
    """A batch of problems, transposed for sweeping."""

    gains: Float[Array, "S J n B"]  # weights; -inf where there is no edge, which keeps x at exactly no mass there
    arrivals: Float[Array, "T J B"]
    scale: Float[Array, "T J B"]  # the largest weight of the column, 1 if that is 0


def lanes(weights: Float[Array, "B n S *J"], arrivals: Float[Array, "B T *J"]) -> Lanes:
    """Problems with the batch axis in front, as they are stored, made lanes."""
    if arrivals.ndim == 2:
        weights, arrivals = weights[..., None], arrivals[..., None]
    gains, arrivals = jnp.transpose(weights, (2, 3, 1, 0)), jnp.transpose(arrivals, (1, 2, 0))
    largest = jnp.max(gains, axis=2)
    scale = jnp.broadcast_to(jnp.where(largest > 0, largest, 1), arrivals.shape)
    return Lanes(jnp.where(gains <= 0, -jnp.inf, gains), arrivals, scale)  # a NaN stays one, to be seen


def _nodes(problem, value):
    return jnp.full(problem.gains.shape[2:], value, problem.arrivals.dtype)


def load(
    problem: Lanes, multipliers: Float[Array, "T J B"], temperature: Float[Array, "T J B"]
) -> Float[Array, "T J B"]:
    """sum_i x_it / p_t of the smoothed problem's best response: 1 minus it is the dual's gradient over p_t."""

    return dual_scan(problem.gains, problem.arrivals, multipliers, temperature)


class Audit(NamedTuple):
    """What one set of multipliers proves, `[B]` each."""

    primal: Float[Array, " B"]  # value of the best response after repair: feasible
    dual: Float[Array, " B"]  # D(multipliers), without smoothing: an upper bound
    unsolved: Float[Array, " B"]  # the part of dual - primal that is not due to the temperature


def audit(problem: Lanes, multipliers: Float[Array, "T J B"], temperature: Float[Array, "T J B"]) -> Audit:
    """Primal and dual bounds at the multipliers, and what is left to gain at this temperature.

    dual - primal = sum_t lam_t (p_t - sum_i x_it) + (value lost in the repair) + (bias of the smoothing): the first two
    vanish where the smoothed problem is solved.
    """

    def back(carry, gains, row):
        smooth, exact = carry
        arrivals, multipliers, smoothed = row
        accept, smooth = steps.relax(smooth, gains, smoothed)
        return (smooth, _wait(exact, gains, arrivals, multipliers)), accept

    rows = (problem.arrivals, multipliers, steps.smoothed(problem.arrivals, multipliers, temperature))
    start = (_nodes(problem, 0), _nodes(problem, 0))
    (_, exact), accept = steps.over_time(back, start, problem.gains, rows, reverse=True)

    def forward(carry, gains, row):
        free, left = carry
        arrivals, accept = row
        weights = jnp.maximum(gains, 0)
        taken, fair = accept * free[None], _fair(accept * left[None])
        earned = (jnp.sum(weights * x, axis=1) * arrivals for x in (taken, fair))
        after = steps.spend(free, arrivals, taken), steps.spend(left, arrivals, fair)
        return after, (jnp.sum(taken, axis=1), *(jnp.sum(value, axis=0) for value in earned))

    start = (_nodes(problem, 1), _nodes(problem, 1))
    _, (loads, claimed, earned) = steps.over_time(forward, start, problem.gains, (problem.arrivals, accept))
    priced = problem.arrivals * multipliers
    dual = jnp.sum(priced, axis=(0, 1)) + jnp.sum(exact, axis=0)
    idle = jnp.abs(jnp.sum(priced * (1 - loads), axis=(0, 1)))
    primal = jnp.sum(earned, axis=0)
    return Audit(primal, dual, idle + jnp.maximum(jnp.sum(claimed, axis=0) - primal, 0))


def _fair(taken):
    """Scaled down in columns that would take more than arrives."""
    return taken / steps.per_node(jnp.maximum(jnp.sum(taken, axis=1), 1))


def _wait(value, gains, arrivals, multipliers):
    """One exact step back: V_t = V_{t+1} + sum_j p_tj max(0, w_tj - lam_tj - V_{t+1})."""
    surplus = jnp.maximum(gains - steps.per_node(multipliers) - value[None], 0)
    return value + jnp.sum(steps.per_node(arrivals) * surplus, axis=0)


def allocate(
    problem: Lanes, multipliers: Float[Array, "T J B"], temperature: Float[Array, "T J B"]
) -> Float[Array, "T J n B"]:
    """The repaired best response: the `x` whose value `audit` calls primal."""

    def back(value, gains, row):
        accept, value = steps.relax(value, gains, row)
        return value, jnp.where(gains > 0, accept, 0)

    rows = steps.smoothed(problem.arrivals, multipliers, temperature)
    _, accept = steps.over_time(back, _nodes(problem, 0), problem.gains, rows, reverse=True)

    def forward(free, row):
        arrivals, accept = row
        taken = _fair(accept * free[None])
        return steps.spend(free, arrivals, taken), steps.per_node(arrivals) * taken

    return jax.lax.scan(forward, _nodes(problem, 1), (problem.arrivals, accept))[1]


def values(problem: Lanes, multipliers: Float[Array, "T J B"]) -> Float[Array, "U n B"]:
    """Exact values of waiting `V_t`, t = 0..T (`U = T + 1`); the last row is zero."""

    def back(value, gains, row):
        value = _wait(value, gains, *row)
        return value, value

    end = _nodes(problem, 0)
    _, rows = steps.over_time(back, end, problem.gains, (problem.arrivals, multipliers), reverse=True)
    return jnp.concatenate([rows, end[None]])
