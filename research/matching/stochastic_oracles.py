"""Exact answers for stochastic rewards by NumPy and SciPy: the two linear programs, S-OPT and policies by enumeration.

Nothing here shares code with `stochastic_rewards`, which it checks.
Source: `mehta:12` (matching program), `huang:20` (configuration program); linear programs by HiGHS (`huangfu:18`).

Letters: `U` offline nodes, `V` arrivals.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np

from research.core import validate as checks

__all__ = ["configuration_program", "matching_program", "optimum", "policy_value"]

_MAX_CONFIGURATIONS = 1 << 16


def _solve(rewards, columns, num_rows):
    """max rewards @ x, every row of a 0/1 or [0, 1] incidence at most 1; `columns` lists (row, entry) pairs each."""
    from scipy import optimize, sparse

    rows = [row for column in columns for row, _ in column]
    entries = [entry for column in columns for _, entry in column]
    where = np.repeat(np.arange(len(columns)), [len(column) for column in columns])
    matrix = sparse.csr_array((entries, (rows, where)), shape=(num_rows, len(columns)))
    found = optimize.linprog(-np.asarray(rewards), A_ub=matrix, b_ub=np.ones(num_rows), method="highs")
    if found.status:
        raise FloatingPointError(f"the linear program was not solved: {found.message}")
    return -found.fun, found.x


def matching_program(success: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """max sum w_u p_uv x_uv with sum_v p_uv x_uv <= 1, sum_u x_uv <= 1, x >= 0: at least S-OPT, for every p.

    Returns the value and `x [U, V]`.
    """
    success, weights = _floats(success, weights)
    num_nodes, num_arrivals = success.shape
    edges = np.argwhere(success > 0)
    x = np.zeros_like(success)
    if not len(edges):
        return 0.0, x
    columns = [((u, success[u, v]), (num_nodes + v, 1.0)) for u, v in edges]
    u, v = edges.T
    value, x[u, v] = _solve(weights[u] * success[u, v], columns, num_nodes + num_arrivals)
    return value, x


def configuration_program(success: np.ndarray, weights: np.ndarray) -> float:
    """max sum_{u, S} w_u min(1, sum_{v in S} p_uv) x_uS, one configuration S per node, every arrival in at most one.

    At most the matching program; equal to it as p vanishes. At finite p it may lie below S-OPT, whose offers to a node
    depend on outcomes: it is a benchmark of the analysis, not an upper bound. ValueError beyond 65,536 configurations.
    """
    success, weights = _floats(success, weights)
    num_nodes, num_arrivals = success.shape
    degrees = (success > 0).sum(1)
    total = int(np.sum(2.0**degrees))
    checks.require(total <= _MAX_CONFIGURATIONS, "number of configurations", f"be <= {_MAX_CONFIGURATIONS}", total)
    rewards, columns = [], []
    for u in range(num_nodes):
        neighbours = np.flatnonzero(success[u])
        for size in range(1, len(neighbours) + 1):
            for chosen in itertools.combinations(neighbours, size):
                rewards.append(weights[u] * min(1.0, success[u, list(chosen)].sum()))
                columns.append(((u, 1.0), *((num_nodes + v, 1.0) for v in chosen)))
    return _solve(rewards, columns, num_nodes + num_arrivals)[0] if columns else 0.0


def optimum(success: np.ndarray, weights: np.ndarray) -> float:
    """S-OPT by recursion over the sets of available nodes, from its definition."""
    success, weights = _floats(success, weights)
    num_nodes, num_arrivals = success.shape

    @functools.cache
    def value(t, available):
        if t == num_arrivals:
            return 0.0
        skipped = value(t + 1, available)
        offers = [
            success[u, t] * (weights[u] + value(t + 1, available - {u})) + (1 - success[u, t]) * skipped
            for u in available
            if success[u, t] > 0
        ]
        return max([skipped, *offers])

    return value(0, frozenset(range(num_nodes)))


def policy_value(
    success: np.ndarray,
    weights: np.ndarray,
    scores: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ties: Literal["first", "uniform"] = "first",
) -> float:
    """Expected value of the policy that offers to a willing node of largest `scores(w_u p_uv [U], load [U]) [U]`.

    By recursion over outcomes: time `2^V`, and a factor per tie where `ties` are broken uniformly.
    """
    success, weights = _floats(success, weights)
    checks.one_of("ties", ties, ("first", "uniform"))
    num_nodes, num_arrivals = success.shape

    def value(t, available, load):
        if t == num_arrivals:
            return 0.0
        willing = available & (success[:, t] > 0)
        if not willing.any():
            return value(t + 1, available, load)
        ranked = np.where(willing, scores(weights * success[:, t], load), -np.inf)
        best = np.flatnonzero(ranked == ranked.max())
        return float(np.mean([offer(t, u, available, load) for u in (best[:1] if ties == "first" else best)]))

    def offer(t, u, available, load):
        p, here = success[u, t], np.arange(num_nodes) == u
        load = load + np.where(here, p, 0)
        won = weights[u] + value(t + 1, available & ~here, load)
        return p * won + (1 - p) * value(t + 1, available, load)

    return value(0, np.ones(num_nodes, bool), np.zeros(num_nodes))


def _floats(success, weights):
    success, weights = np.asarray(success, np.float64), np.asarray(weights, np.float64)
    checks.shape("success", success, (None, None))
    checks.shape("weights", weights, (success.shape[0],))
    checks.in_range("success", success, 0, 1)
    checks.positive("weights", weights)
    return success, weights
