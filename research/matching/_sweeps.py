"""Backward and forward sweeps over time of LP-OnOpt's dual, for several instances side by side.

Instances are the last axis of every array ("lanes", `B`): the sums over offline nodes then add whole vectors, and on a
CPU a batch of 64 takes under half the time of the layout with instances first. Time is the first axis, so that a step
reads one contiguous row. Bernoulli instances have one type.
Letters: `T` times, `J` types, `n` offline nodes, `S` = `T`, or 1 where weights do not depend on time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core.types import Array, Float

__all__ = ["Audit", "Lanes", "allocate", "audit", "lanes", "load", "values"]

#: Slopes below it are taken as it: exp(80) is finite in float32, and sigmoid(-80) is zero for every purpose.
_LOWEST = -80.0


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


def _over_time(step, init, problem, rows, *, reverse=False):
    """`lax.scan` of step(carry, gains of the time [J, n, B], rows of the time)."""
    if problem.gains.shape[0] == problem.arrivals.shape[0]:
        return jax.lax.scan(lambda c, row: step(c, *row), init, (problem.gains, rows), reverse=reverse)
    return jax.lax.scan(lambda c, row: step(c, problem.gains[0], row), init, rows, reverse=reverse)


def _nodes(problem, value):
    return jnp.full(problem.gains.shape[2:], value, problem.arrivals.dtype)


def _per_node(of_column):
    """`[J, B]` against `[J, n, B]`."""
    return of_column[:, None]


def _softplus(slope):
    """Sigmoid and softplus from one exponential."""
    slope = jnp.maximum(slope, _LOWEST)
    denominator = 1 + jnp.exp(-slope)
    return 1 / denominator, slope + jnp.log(denominator)


def _smoothed(problem, multipliers, temperature):
    """Rows of the smoothed recursion, with all that can be done by column done once."""
    return problem.arrivals * temperature, multipliers / temperature, 1 / temperature


def _relax(value, gains, smoothed):
    """One step back in time: acceptance `[J, n, B]` and the smoothed value of waiting `[n, B]`."""
    mass, price, inverse = (_per_node(row) for row in smoothed)
    accept, excess = _softplus((gains - value[None]) * inverse - price)
    return accept, value + jnp.sum(mass * excess, axis=0)


def _spend(free, arrivals, taken):
    return free - jnp.sum(_per_node(arrivals) * taken, axis=0)


def load(
    problem: Lanes, multipliers: Float[Array, "T J B"], temperature: Float[Array, "T J B"]
) -> Float[Array, "T J B"]:
    """sum_i x_it / p_t of the smoothed problem's best response: 1 minus it is the dual's gradient over p_t."""

    def back(value, gains, row):
        accept, value = _relax(value, gains, row)
        return value, accept

    rows = _smoothed(problem, multipliers, temperature)
    _, accept = _over_time(back, _nodes(problem, 0), problem, rows, reverse=True)

    def forward(free, row):
        arrivals, accept = row
        taken = accept * free[None]
        return _spend(free, arrivals, taken), jnp.sum(taken, axis=1)

    return jax.lax.scan(forward, _nodes(problem, 1), (problem.arrivals, accept))[1]


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
        accept, smooth = _relax(smooth, gains, smoothed)
        return (smooth, _wait(exact, gains, arrivals, multipliers)), accept

    rows = (problem.arrivals, multipliers, _smoothed(problem, multipliers, temperature))
    start = (_nodes(problem, 0), _nodes(problem, 0))
    (_, exact), accept = _over_time(back, start, problem, rows, reverse=True)

    def forward(carry, gains, row):
        free, left = carry
        arrivals, accept = row
        weights = jnp.maximum(gains, 0)
        taken, fair = accept * free[None], _fair(accept * left[None])
        earned = (jnp.sum(weights * x, axis=1) * arrivals for x in (taken, fair))
        after = _spend(free, arrivals, taken), _spend(left, arrivals, fair)
        return after, (jnp.sum(taken, axis=1), *(jnp.sum(value, axis=0) for value in earned))

    start = (_nodes(problem, 1), _nodes(problem, 1))
    _, (loads, claimed, earned) = _over_time(forward, start, problem, (problem.arrivals, accept))
    priced = problem.arrivals * multipliers
    dual = jnp.sum(priced, axis=(0, 1)) + jnp.sum(exact, axis=0)
    idle = jnp.abs(jnp.sum(priced * (1 - loads), axis=(0, 1)))
    primal = jnp.sum(earned, axis=0)
    return Audit(primal, dual, idle + jnp.maximum(jnp.sum(claimed, axis=0) - primal, 0))


def _fair(taken):
    """Scaled down in columns that would take more than arrives."""
    return taken / _per_node(jnp.maximum(jnp.sum(taken, axis=1), 1))


def _wait(value, gains, arrivals, multipliers):
    """One exact step back: V_t = V_{t+1} + sum_j p_tj max(0, w_tj - lam_tj - V_{t+1})."""
    surplus = jnp.maximum(gains - _per_node(multipliers) - value[None], 0)
    return value + jnp.sum(_per_node(arrivals) * surplus, axis=0)


def allocate(
    problem: Lanes, multipliers: Float[Array, "T J B"], temperature: Float[Array, "T J B"]
) -> Float[Array, "T J n B"]:
    """The repaired best response: the `x` whose value `audit` calls primal."""

    def back(value, gains, row):
        accept, value = _relax(value, gains, row)
        return value, jnp.where(gains > 0, accept, 0)

    rows = _smoothed(problem, multipliers, temperature)
    _, accept = _over_time(back, _nodes(problem, 0), problem, rows, reverse=True)

    def forward(free, row):
        arrivals, accept = row
        taken = _fair(accept * free[None])
        return _spend(free, arrivals, taken), _per_node(arrivals) * taken

    return jax.lax.scan(forward, _nodes(problem, 1), (problem.arrivals, accept))[1]


def values(problem: Lanes, multipliers: Float[Array, "T J B"]) -> Float[Array, "U n B"]:
    """Exact values of waiting `V_t`, t = 0..T (`U = T + 1`); the last row is zero."""

    def back(value, gains, row):
        value = _wait(value, gains, *row)
        return value, value

    end = _nodes(problem, 0)
    _, rows = _over_time(back, end, problem, (problem.arrivals, multipliers), reverse=True)
    return jnp.concatenate([rows, end[None]])
