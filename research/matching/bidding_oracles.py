"""Where independent pacing settles, and the most that any coordination can earn; NumPy and SciPy on the host.

Source: `balseiro:19` for the steady state of adaptive pacing as a complementarity problem.

Shape letters: `S` sampled rounds, `T` rounds, `K` clients.
"""

from typing import NamedTuple

import numpy as np

from research.core import validate as checks
from research.core.types import Float

__all__ = ["FixedPoint", "fixed_point", "mean_spend", "welfare_bound"]


class FixedPoint(NamedTuple):
    multiplier: Float[np.ndarray, " K"]
    spend: Float[np.ndarray, " K"]  # mean per round at these multipliers
    residual: float  # max_k |min(mu_k, 1 - spend_k / rate_k)|: 0 at a fixed point
    num_iterations: int


def mean_spend(
    values: Float[np.ndarray, "S K"], outside: Float[np.ndarray, " S"], multiplier: Float[np.ndarray, " K"]
) -> Float[np.ndarray, " K"]:
    """Mean spend per round when client k bids values / (1 + multiplier_k) in each sampled round, budgets aside."""
    bids = np.asarray(values, np.float64) / (1 + np.asarray(multiplier, np.float64))
    rows = np.arange(len(bids))
    leader = bids.argmax(axis=1)
    others = bids.copy()
    others[rows, leader] = 0.0
    price = np.maximum(others.max(axis=1), outside)
    paid = np.where(bids[rows, leader] >= outside, price, 0.0)
    return np.bincount(leader, paid, minlength=bids.shape[1]) / len(bids)


def fixed_point(
    values: Float[np.ndarray, "S K"],
    outside: Float[np.ndarray, " S"],
    rate: Float[np.ndarray, " K"],
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 500,
) -> FixedPoint:
    """Multipliers mu >= 0 at which every client spends `rate` per round, or less with mu = 0.

    Damped iteration 1 + mu <- max(1, (1 + mu) (spend / rate)^a) with a falling like 1/sqrt(i), from mu = 0; the spend
    is a mean over the sample, so it jumps by about 1/S and so does the attainable residual. Nothing forces the
    iteration to converge: look at `residual`. Returns the best iterate.
    Raises: ValueError for rates that are not positive, or shapes that do not match.
    """
    values, outside, rate = (np.asarray(x, np.float64) for x in (values, outside, rate))
    checks.shape("values", values, (None, None))
    checks.shape("outside", outside, values.shape[:1])
    checks.shape("rate", rate, values.shape[1:])
    checks.positive("rate", rate)
    price_of_money = np.ones_like(rate)
    best = FixedPoint(np.zeros_like(rate), np.zeros_like(rate), np.inf, 0)
    for iteration in range(max_iterations):
        multiplier = price_of_money - 1
        spend = mean_spend(values, outside, multiplier)
        residual = float(np.abs(np.minimum(multiplier, 1 - spend / rate)).max())
        if residual < best.residual:
            best = FixedPoint(multiplier, spend, residual, iteration + 1)
        if residual <= tolerance:
            break
        price_of_money = np.maximum(1.0, price_of_money * (spend / rate) ** (0.5 / np.sqrt(1 + iteration / 10)))
    return best


def welfare_bound(
    values: Float[np.ndarray, "T K"], outside: Float[np.ndarray, " T"], budgets: Float[np.ndarray, " K"]
) -> float:
    """No rule, coordinated or not, earns its clients more than this in all: fractional assignment in hindsight.

    max sum_tk x_tk (v_tk - d_t), sum_k x_tk <= 1, sum_t d_t x_tk <= B_k: every win costs the coalition at least d_t
    of the winner's own money, and transfers within the coalition cancel. By HiGHS, to its tolerance of 1e-7.
    """
    import scipy.sparse as sparse
    from scipy.optimize import linprog

    values, outside, budgets = (np.asarray(x, np.float64) for x in (values, outside, budgets))
    rounds, clients = values.shape
    once = sparse.kron(sparse.eye(rounds), np.ones((1, clients)))
    spend = sparse.kron(sparse.csr_matrix(outside[None, :]), sparse.eye(clients))
    solved = linprog(
        -(values - outside[:, None]).ravel(),
        A_ub=sparse.vstack([once, spend]).tocsr(),
        b_ub=np.concatenate([np.ones(rounds), budgets]),
        method="highs",
    )
    checks.require(solved.success, "the linear program", "be solved", solved.message)
    return float(-solved.fun)
