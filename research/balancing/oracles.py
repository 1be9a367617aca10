"""Balanced assignment solved exactly on the host, for tests and figures: a linear program, and a matching for K = 1.

NumPy and SciPy in float64. HiGHS finds a vertex, which is integral. Its prices minimise D, but minimisers are not
unique: compare D(price), not prices.
Source: `huangfu:18` for the solver; `crouse:16` for the matching.

Letters: `T` tokens, `E` experts, `K` experts per token, `L` = K T / E.
"""

from typing import NamedTuple

import numpy as np

from research.core import validate as checks
from research.core.types import Float

__all__ = ["Optimum", "linear_program", "matching"]


class Optimum(NamedTuple):
    """An optimal assignment."""

    value: float
    selection: Float[np.ndarray, "T E"]  # x; 0 or 1 with whole loads, fractions with loads of exactly L else
    load: Float[np.ndarray, " E"]
    price: Float[np.ndarray, " E"] | None  # bias that minimises D, with mean 0


def _checked(scores, top_k):
    scores = np.asarray(scores, np.float64)
    checks.shape("scores", scores, (None, None))
    checks.finite("scores", scores)
    checks.at_least("number of tokens", scores.shape[0], 1)
    checks.at_least("number of experts", scores.shape[1], 2)
    checks.in_range("top_k", top_k, 1, scores.shape[1])
    return scores


def linear_program(scores: Float[np.ndarray, "T E"], top_k: int, *, equal_loads: bool = False) -> Optimum:
    """max <s, x> with K experts per token and floor(L) <= A_k <= ceil(L).

    Args:
      equal_loads: A_k = L, in fractions where E does not divide K T: the program whose optimum is min D. Only there the
        two differ, and the one with whole loads is at least as large.

    Raises:
      ValueError for bad scores or K; RuntimeError when the solver stops without an optimum.
    """
    import scipy.optimize
    import scipy.sparse as sp

    scores = _checked(scores, top_k)
    tokens, num_experts = scores.shape
    of_tokens = sp.kron(sp.eye_array(tokens), np.ones((1, num_experts))).tocsr()
    of_experts = sp.kron(np.ones((1, tokens)), sp.eye_array(num_experts)).tocsr()
    total = top_k * tokens
    low, high = (total / num_experts,) * 2 if equal_loads else (total // num_experts, -(-total // num_experts))
    # Equal bounds too as two inequalities: HiGHS takes thirty times as long with equations for experts.
    limits = {
        "A_eq": of_tokens,
        "b_eq": np.full(tokens, top_k),
        "A_ub": sp.vstack([of_experts, -of_experts]),
        "b_ub": np.r_[[high] * num_experts, [-low] * num_experts],
    }
    found = scipy.optimize.linprog(-scores.ravel(), bounds=(0, 1), method="highs", **limits)
    if found.status != 0:
        raise RuntimeError(f"HiGHS found no optimum: {found.message}")
    # Marginals are derivatives of the minimum -<s, x> by right-hand sides; a price is taken off with the load it buys.
    upper, lower = np.split(found.ineqlin.marginals, 2)
    price = upper - lower
    selection = found.x.reshape(tokens, num_experts)
    return Optimum(-found.fun, selection, selection.sum(axis=0), price - price.mean())


def matching(scores: Float[np.ndarray, "T E"]) -> Optimum:
    """The same for K = 1 with equal loads, without prices: tokens matched to L copies of each expert.

    Raises ValueError where E does not divide T.
    """
    import scipy.optimize

    scores = _checked(scores, 1)
    tokens, num_experts = scores.shape
    checks.require(tokens % num_experts == 0, "scores", f"have T divisible by the {num_experts} experts", tokens)
    copies = tokens // num_experts
    _, column = scipy.optimize.linear_sum_assignment(np.repeat(scores, copies, axis=1), maximize=True)
    selection = np.eye(num_experts)[column // copies]
    return Optimum(float(np.sum(scores * selection)), selection, selection.sum(axis=0), None)
