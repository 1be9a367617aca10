"""All assortments at once: the truth for at most 20 items; NumPy on the host, float64.

Set s of items is the integer whose bit i says whether item i is in it; tables have `2**N` entries in that order.
Source: definitions of the choice models, `talluri:04` and `blanchet:16`; enumeration needs none.
"""

from typing import NamedTuple

import numpy as np

from research.core import validate as checks
from research.core.types import Bool, Float
from research.matching import choice_models

__all__ = ["MAX_ITEMS", "Best", "brute_force", "feasible", "revenues", "upper_hull", "values"]

MAX_ITEMS = 20
#: Sets per batch of linear solves: 2**12 systems of 20 equations take 13 MB.
_CHUNK = 1 << 12


class Best(NamedTuple):
    value: float
    mask: Bool[np.ndarray, " N"]  # the smallest set number that attains it


def _sums(amounts):
    table = np.zeros(1)
    for amount in np.asarray(amounts, np.float64):
        table = np.concatenate([table, table + amount])
    return table


def _members(sets, num_items):
    return ((sets[:, None] >> np.arange(num_items)) & 1).astype(bool)


def upper_hull(table: Float[np.ndarray, " sets"]) -> Float[np.ndarray, " sets"]:
    """f(S) = max over X in S of the table, for all S: one pass for each item."""
    hull = np.array(table, np.float64)
    num_items = len(hull).bit_length() - 1
    for i in range(num_items):
        view = hull.reshape(-1, 2, 1 << i)
        np.maximum(view[:, 1], view[:, 0], out=view[:, 1])
    return hull


def _logit_revenues(prices, weights, outside):
    return _sums(np.asarray(prices, np.float64) * weights) / (float(outside) + _sums(weights))


def _chain_revenues(model):
    n = model.num_items
    prices, arrival, transition = (
        np.asarray(x, np.float64) for x in (model.prices, model.arrival, model.transition)
    )  # fmt: skip
    out = np.empty(1 << n)
    for start in range(0, 1 << n, _CHUNK):
        offered = _members(np.arange(start, min(start + _CHUNK, 1 << n)), n)
        # What is sold of each item is its visits: visits = arrival + visits of items not offered, moved on.
        moves = np.where(offered[:, None, :], 0.0, transition.T[None])
        visits = np.linalg.solve(np.eye(n) - moves, np.broadcast_to(arrival[:, None], (len(offered), n, 1)))[..., 0]
        out[start : start + len(offered)] = np.sum(np.where(offered, visits * prices, 0.0), axis=1)
    return out


def _require_size(num_items):
    checks.in_range("number of items", num_items, 1, MAX_ITEMS)


def revenues(model) -> Float[np.ndarray, " sets"]:
    """R(S) for all S, one assortment for everybody. Raises: ValueError for more than 20 items, unknown models."""
    _require_size(model.num_items)
    if isinstance(model, choice_models.MultinomialLogit):
        return _logit_revenues(model.prices, np.asarray(model.weights, np.float64), model.outside)
    if isinstance(model, choice_models.MarkovChain):
        return _chain_revenues(model)
    if isinstance(model, choice_models.Mixture):
        return sum(
            float(share) * _logit_revenues(model.prices, np.asarray(weights, np.float64), outside)
            for share, weights, outside in zip(model.shares, model.weights, model.outside, strict=True)
        )
    raise ValueError(f"model must be one of choice_models, got {type(model).__name__}.")


def values(model) -> Float[np.ndarray, " sets"]:
    """f(S) for all S, by the definition of f: no formula of the model's `value` is used."""
    _require_size(model.num_items)
    if isinstance(model, choice_models.Mixture):
        return sum(
            float(share) * upper_hull(_logit_revenues(model.prices, np.asarray(weights, np.float64), outside))
            for share, weights, outside in zip(model.shares, model.weights, model.outside, strict=True)
        )
    return upper_hull(revenues(model))


def feasible(problem) -> Bool[np.ndarray, " sets"]:
    """Which sets meet the constraints of an `assortment.Problem`; the same slack of 1e-6 in the budget as there."""
    _require_size(problem.num_items)
    allowed = _sums(problem.cost) <= float(problem.budget) * (1 + 1e-6)
    for p, capacity in enumerate(np.asarray(problem.capacity)):
        allowed &= _sums(np.asarray(problem.part) == p) <= capacity
    return allowed


def brute_force(problem) -> Best:
    """The optimum of an `assortment.Problem` over all feasible sets."""
    table = np.where(feasible(problem), values(problem.model), -np.inf)
    best = int(table.argmax())
    return Best(float(table[best]), _members(np.array([best]), problem.num_items)[0])
