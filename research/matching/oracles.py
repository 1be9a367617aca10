"""Linear programs of the matching family solved exactly on the host: LP-OnOpt in state form, and the ex-ante LP.

NumPy and SciPy (HiGHS), float64, for tests, figures and benchmarks. The state form carries y_{t+1} = y_t + x_t as
variables, which leaves 5 nonzeros per edge; with y written as prefix sums there would be T/2 of them. HiGHS stops at
reduced costs of 1e-7: weights of that size, as in `problems.hard_edge(100, .724, 1e-7)`, it leaves on the table (its
value there is 1.0, the optimum 1.00001).
Source: `braverman:24` for LP-OnOpt; `huangfu:18` for the solver.
"""

import time
from typing import NamedTuple

import numpy as np

from research.core import validate
from research.core.types import Float

__all__ = ["Solved", "ex_ante_lp", "online_lp"]


class Solved(NamedTuple):
    """An optimal basic (or interior) solution of one linear program."""

    value: float
    x: Float[np.ndarray, "n T *J"]
    multipliers: Float[np.ndarray, "T *J"]  # of sum_i x_it <= p_t; >= 0
    seconds: float  # inside the solver, assembly not counted


def online_lp(problem, *, method: str = "highs", options: dict | None = None) -> Solved:
    """LP-OnOpt: max <w, x> s.t. x >= 0, sum_i x_it <= p_t, x_it <= p_t (1 - y_it). Bernoulli or typed.

    Args:
      problem: `problems.Problem`; edges of weight 0 are left out (x = 0).
      method: "highs", "highs-ds" (dual simplex) or "highs-ipm" (interior point, then crossover).
      options: of `scipy.optimize.linprog`, for example `{"ipm_optimality_tolerance": 1e-4}`.

    Raises:
      RuntimeError: HiGHS did not reach its optimum, for example within `time_limit` seconds.
    """
    import scipy.sparse as sp

    weights, arrivals = _dense(problem)
    n, steps, types = weights.shape
    edges = np.flatnonzero(weights)
    node, when, kind = np.unravel_index(edges, weights.shape)
    num_edges, num_states = len(edges), n * (steps - 1)
    variables = np.arange(num_edges)
    room = arrivals[when, kind]

    # Variable num_edges + i (T-1) + t-1 is y_it, t = 1..T-1; y_i0 = 0 is not one.
    known = when > 0
    states = num_edges + node[known] * (steps - 1) + when[known] - 1
    total = num_edges + num_states
    capacity = _matrix(sp, np.ones(num_edges), when * types + kind, variables, (steps * types, total))
    once = _matrix(
        sp,
        np.concatenate([np.ones(num_edges), room[known]]),
        np.concatenate([variables, variables[known]]),
        np.concatenate([variables, states]),
        (num_edges, total),
    )
    # y_{t+1} - y_t - sum_j x_tj = 0 for t = 0..T-2; nothing depends on the mass after the last step.
    early = when < steps - 1
    all_states = np.arange(num_states)
    later = all_states[all_states % max(steps - 1, 1) > 0]
    flow = _matrix(
        sp,
        np.concatenate([-np.ones(early.sum()), np.ones(num_states), -np.ones(len(later))]),
        np.concatenate([node[early] * (steps - 1) + when[early], all_states, later]),
        np.concatenate([variables[early], num_edges + all_states, num_edges + later - 1]),
        (num_states, total),
    )
    result, seconds = _solve(
        np.concatenate([-weights.ravel()[edges], np.zeros(num_states)]),
        sp.vstack([capacity, once]).tocsr(),
        np.concatenate([arrivals.ravel(), room]),
        method,
        options,
        equalities=flow,
    )
    return _unpack(problem, result, seconds, edges, weights.shape)


def ex_ante_lp(problem, *, method: str = "highs", options: dict | None = None) -> Solved:
    """The upper bound on the prophet: LP-OnOpt with sum_t x_it <= 1 in place of x_it <= p_t (1 - y_it).

    Arguments and errors as in `online_lp`.
    """
    import scipy.sparse as sp

    weights, arrivals = _dense(problem)
    n, steps, types = weights.shape
    edges = np.flatnonzero(weights)
    node, when, kind = np.unravel_index(edges, weights.shape)
    variables, ones = np.arange(len(edges)), np.ones(len(edges))
    capacity = _matrix(sp, ones, when * types + kind, variables, (steps * types, len(edges)))
    once = _matrix(sp, ones, node, variables, (n, len(edges)))
    bounds = np.concatenate([arrivals.ravel(), np.ones(n)])
    result, seconds = _solve(-weights.ravel()[edges], sp.vstack([capacity, once]).tocsr(), bounds, method, options)
    return _unpack(problem, result, seconds, edges, weights.shape)


def _dense(problem):
    """Weights `[n, T, J]` and arrivals `[T, J]` in float64; J = 1 for a Bernoulli problem."""
    weights, arrivals = np.asarray(problem.weights, np.float64), np.asarray(problem.arrivals, np.float64)
    if arrivals.ndim == 1:
        weights, arrivals = weights[..., None], arrivals[:, None]
    return np.broadcast_to(weights, (weights.shape[0], *arrivals.shape)), arrivals


def _matrix(sp, values, rows, columns, shape):
    return sp.csr_array((values, (rows, columns)), shape=shape)


def _solve(costs, inequalities, bounds, method, options, equalities=None):
    from scipy.optimize import linprog

    validate.one_of("method", method, ("highs", "highs-ds", "highs-ipm"))
    if not costs.size:
        return None, 0.0
    right = None if equalities is None else np.zeros(equalities.shape[0])
    start = time.perf_counter()
    result = linprog(costs, inequalities, bounds, equalities, right, (0, None), method=method, options=options or {})
    seconds = time.perf_counter() - start
    if result.status != 0:
        raise RuntimeError(f"HiGHS ({method}) stopped with status {result.status}: {result.message}")
    return result, seconds


def _unpack(problem, result, seconds, edges, shape):
    x, multipliers = np.zeros(shape), np.zeros(shape[1:])
    value = 0.0
    if result is not None:
        x.ravel()[edges] = result.x[: len(edges)]
        multipliers = -result.ineqlin.marginals[: multipliers.size].reshape(multipliers.shape)
        value = -float(result.fun)
    if not problem.typed:
        x, multipliers = x[..., 0], multipliers[:, 0]
    return Solved(value, x, multipliers, seconds)
