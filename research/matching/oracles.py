"""Linear programs of the matching family solved exactly on the host: LP-OnOpt in state form, and the ex-ante LP.

NumPy and SciPy (HiGHS), float64, for tests, figures and benchmarks. The state form carries y_{t+1} = y_t + x_t as
variables, which leaves 5 nonzeros per edge; with y written as prefix sums there would be T/2 of them. HiGHS stops at
reduced costs of 1e-7: weights of that size, as in `problems.hard_edge(100, .724, 1e-7)`, it leaves on the table (its
value there is 1.0, the optimum 1.00001).
Source: `braverman:24` for LP-OnOpt; `huangfu:18` for the solver.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from research.core import validate
from research.core.types import Float

__all__ = ["LinearProgram", "Solved", "ex_ante_lp", "online_lp", "optimum", "state_form"]


class LinearProgram(NamedTuple):
    """min <costs, z> s.t. inequalities z <= bounds, equalities z = 0, z >= 0; z starts with x of the edges.

    The first `T J` inequalities are the columns' capacities. Sparse matrices are `scipy.sparse.csr_array`.
    """

    costs: Float[np.ndarray, " Z"]
    inequalities: Any
    bounds: Float[np.ndarray, " M"]
    equalities: Any  # or None
    edges: np.ndarray  # where x stands in the flattened [n, T, J]
    shape: tuple[int, int, int]  # n, T, J


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
      method, options: as in `optimum`.

    Raises:
      RuntimeError: as in `optimum`.
    """
    return _unpack(problem, optimum(state_form(problem), method=method, options=options))


def ex_ante_lp(problem, *, method: str = "highs", options: dict | None = None) -> Solved:
    """The upper bound on the prophet: LP-OnOpt with sum_t x_it <= 1 in place of x_it <= p_t (1 - y_it).

    Arguments and errors as in `online_lp`.
    """
    return _unpack(problem, optimum(_ex_ante_form(problem), method=method, options=options))


def state_form(problem) -> LinearProgram:
    """LP-OnOpt with the states y as variables after the edges'; edges of weight 0 are left out."""
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
    return LinearProgram(
        np.concatenate([-weights.ravel()[edges], np.zeros(num_states)]),
        sp.vstack([capacity, once]).tocsr(),
        np.concatenate([arrivals.ravel(), room]),
        flow,
        edges,
        weights.shape,
    )


def _ex_ante_form(problem):
    import scipy.sparse as sp

    weights, arrivals = _dense(problem)
    n, steps, types = weights.shape
    edges = np.flatnonzero(weights)
    node, when, kind = np.unravel_index(edges, weights.shape)
    variables, ones = np.arange(len(edges)), np.ones(len(edges))
    capacity = _matrix(sp, ones, when * types + kind, variables, (steps * types, len(edges)))
    once = _matrix(sp, ones, node, variables, (n, len(edges)))
    bounds = np.concatenate([arrivals.ravel(), np.ones(n)])
    inequalities = sp.vstack([capacity, once]).tocsr()
    return LinearProgram(-weights.ravel()[edges], inequalities, bounds, None, edges, weights.shape)


def _dense(problem):
    """Weights `[n, T, J]` and arrivals `[T, J]` in float64; J = 1 for a Bernoulli problem."""
    weights, arrivals = np.asarray(problem.weights, np.float64), np.asarray(problem.arrivals, np.float64)
    if arrivals.ndim == 1:
        weights, arrivals = weights[..., None], arrivals[:, None]
    return np.broadcast_to(weights, (weights.shape[0], *arrivals.shape)), arrivals


def _matrix(sp, values, rows, columns, shape):
    return sp.csr_array((values, (rows, columns)), shape=shape)


def optimum(program: LinearProgram, *, method: str = "highs", options: dict | None = None) -> Solved:
    """By HiGHS: x `[n, T, J]` and multipliers `[T, J]`, J = 1 for a Bernoulli problem.

    Args:
      method: "highs", "highs-ds" (dual simplex) or "highs-ipm" (interior point, then crossover).
      options: of `scipy.optimize.linprog`, for example `{"ipm_optimality_tolerance": 1e-4}`.

    Raises:
      RuntimeError: HiGHS did not reach its optimum, for example within `time_limit` seconds.
    """
    from scipy.optimize import linprog

    validate.one_of("method", method, ("highs", "highs-ds", "highs-ipm"))
    x, multipliers = np.zeros(program.shape), np.zeros(program.shape[1:])
    if not program.costs.size:
        return Solved(0.0, x, multipliers, 0.0)
    right = None if program.equalities is None else np.zeros(program.equalities.shape[0])
    limits = program.inequalities, program.bounds, program.equalities, right
    start = time.perf_counter()
    result = linprog(program.costs, *limits, (0, None), method=method, options=options or {})
    seconds = time.perf_counter() - start
    if result.status != 0:
        raise RuntimeError(f"HiGHS ({method}) stopped with status {result.status}: {result.message}")
    x.ravel()[program.edges] = result.x[: len(program.edges)]
    multipliers = -result.ineqlin.marginals[: multipliers.size].reshape(multipliers.shape)
    return Solved(-float(result.fun), x, multipliers, seconds)


def _unpack(problem, solved):
    """Without the axis of types where the problem has none."""
    if problem.typed:
        return solved
    return solved._replace(x=solved.x[..., 0], multipliers=solved.multipliers[:, 0])
