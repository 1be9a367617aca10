"""What a pair (x, lam) proves about LP-OnOpt: a feasible value below it, a dual value above it.

`repair` makes any array feasible, `dual_value` bounds the LP from above for any lam >= 0, and `certificate` does both
again in float64 NumPy on the host, so that a solver's rounding cannot flatter itself.
Source: `braverman:24` for the LP; the separable dual is derived in `relaxation`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float
from research.matching import _sweeps
from research.matching.problems import Problem

__all__ = ["Certificate", "certificate", "dual_value", "repair", "smoothing_bias", "waiting_values"]


class Certificate(NamedTuple):
    """Bounds in float64: primal <= LP <= dual up to the rounding of sums in float64."""

    primal: float  # value of x after repair
    dual: float
    gap: float  # (dual - primal) / dual; 0 if dual is 0
    infeasibility: float  # how far the x given leaves the polytope, in probability


@jax.jit
def repair(problem: Problem, x: Float[Array, "n T *J"]) -> Float[Array, "n T *J"]:
    """The x of a forward pass that clips to [0, p_t (1 - y_it)] and scales down columns that exceed p_t.

    Feasible x are fixed points. A scaled column is left 8 units in the last place below p_t, so that summing it again
    in another order does not exceed p_t, and a second repair changes nothing.
    """
    columns = jnp.moveaxis(x, 0, -1)  # [T, *J, n]

    def forward(free, row):
        arrivals, column = row
        column = jnp.clip(column, 0, arrivals[..., None] * jnp.broadcast_to(free, column.shape))
        total = jnp.sum(column, axis=-1)
        ceiling = arrivals * (1 - 8 * jnp.finfo(column.dtype).eps)
        scale = jnp.where(total > arrivals, ceiling / jnp.where(total > 0, total, 1), 1)
        column = column * scale[..., None]
        spent = jnp.sum(column, axis=0) if column.ndim == 2 else column
        return jnp.maximum(free - spent, 0), column

    free = jnp.ones(x.shape[:1], x.dtype)
    return jnp.moveaxis(jax.lax.scan(forward, free, (problem.arrivals, columns))[1], -1, 0)


@jax.jit
def waiting_values(problem: Problem, multipliers: Float[Array, "T *J"]) -> Float[Array, "n U"]:
    """V `[n, T + 1]`: what node i can still earn from time t on if type j at time t costs lam_tj; V_iT = 0.

    V_it = V_i,t+1 + sum_j p_tj max(0, w_itj - lam_tj - V_i,t+1): one exact backward sweep.
    """
    lanes = _sweeps.lanes(problem.weights[None], problem.arrivals[None])
    return _sweeps.values(lanes, multipliers.reshape(lanes.arrivals.shape))[..., 0].T


@jax.jit
def dual_value(problem: Problem, multipliers: Float[Array, "T *J"]) -> Float[Array, ""]:
    """D(lam) = sum_t p_t lam_t + sum_i V_i0: at least the LP for every lam >= 0, equal to it at the best lam."""
    return jnp.sum(problem.arrivals * multipliers) + jnp.sum(waiting_values(problem, multipliers)[:, 0])


def smoothing_bias(problem: Problem, temperature: Float[Array, "T *J"]) -> Float[Array, ""]:
    """0 <= D_mu(lam) - D(lam) <= n ln2 sum_t p_t mu_t for every lam >= 0, mu in the unit of the weights.

    Each backward step adds at most p_t mu_t (softplus(s) - max(0, s)) <= p_t mu_t ln 2, and passes on at most what it
    got. Source: `nesterov:05`, for the sum of n entropies.
    """
    return problem.num_offline * jnp.log(2.0) * jnp.sum(problem.arrivals * temperature)


def certificate(problem: Problem, x: Array, multipliers: Array) -> Certificate:
    """Both bounds in float64 on the host; `x` is repaired first, negative multipliers are refused.

    Raises:
      ValueError: shapes that do not fit, non-finite entries, multipliers below zero.
    """
    checks.shape("x", x, problem.allocation_shape)
    checks.shape("multipliers", multipliers, problem.arrivals.shape)
    checks.finite("x", x)
    checks.finite("multipliers", multipliers)
    checks.at_least("multipliers", multipliers, 0)
    weights, arrivals, x, prices = (
        np.asarray(a, np.float64) for a in (problem.weights, problem.arrivals, x, multipliers)
    )
    if not problem.typed:
        weights, x = weights[..., None], x[..., None]
    arrivals, prices = arrivals.reshape(x.shape[1:]), prices.reshape(x.shape[1:])
    weights = np.broadcast_to(weights, x.shape)

    waiting = np.zeros(len(x))
    for t in reversed(range(len(arrivals))):
        waiting = waiting + np.maximum(weights[:, t] - prices[t] - waiting[:, None], 0) @ arrivals[t]
    dual = float(np.sum(arrivals * prices) + waiting.sum())

    primal, free, unrepaired, infeasibility = 0.0, np.ones(len(x)), np.ones(len(x)), 0.0
    for t in range(len(arrivals)):
        room = arrivals[t] * unrepaired[:, None]
        excess = (-x[:, t]).max(), (x[:, t] - room).max(), (x[:, t].sum(0) - arrivals[t]).max()
        infeasibility = max(infeasibility, *excess)
        unrepaired = unrepaired - x[:, t].sum(1)
        taken = np.clip(x[:, t], 0, arrivals[t] * free[:, None])
        taken = taken * np.minimum(1, arrivals[t] / np.maximum(taken.sum(0), np.finfo(np.float64).tiny))
        free = np.maximum(free - taken.sum(1), 0)
        primal += float(np.sum(weights[:, t] * taken))
    return Certificate(primal, dual, (dual - primal) / dual if dual > 0 else 0.0, float(infeasibility))
