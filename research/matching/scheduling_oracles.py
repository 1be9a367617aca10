"""Exact maximin shares, and adversaries that play all item sequences on a grid; NumPy on the host, small instances.

`mms` by dynamic programming over item sets, `mms_milp` by an integer program: two independent ways to the same number.
`worst_on_grid` plays every sequence of a given length against one rule of `scheduling`. `game_value` is the value of
the game itself: the adversary names item values one item at a time, knowing what has gone where, the algorithm
answers, and both play optimally, so that no deterministic rule can do better on that grid.
Source: `zhou:23` for the model; the searches are exhaustive and need none.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Float, Int
from research.matching import scheduling

__all__ = ["MAX_ITEMS", "Worst", "compositions", "game_value", "mms", "mms_milp", "ratio", "worst_on_grid"]

#: `mms` keeps 2**items loads.
MAX_ITEMS = 14


def _subset_sums(values):
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


def _smaller(levels, values):
    return np.maximum(np.minimum(levels, values.sum() - levels), 0.0)  # the full set's sum may differ by rounding


@functools.cache
def _layers(num_items):
    """Item sets by size: for each size the sets, and for each of them its members and the sets without them."""
    sets = np.arange(1 << num_items)
    bits = (sets[:, None] >> np.arange(num_items)) & 1
    sizes = bits.sum(axis=1)
    layers = []
    for size in range(1, num_items + 1):
        chosen = sets[sizes == size]
        members = np.nonzero(bits[chosen])[1].reshape(-1, size)
        layers.append((chosen, members, chosen[:, None] ^ (1 << members)))
    return layers


def _fill(values, level, tolerance, chores):
    """Bundles made of all items, filled one after the other: at least `level` each (goods), at most (chores).

    For every item set the best pair (bundles complete or opened, load of the current one) in lexicographic order: more
    complete bundles are better for goods, fewer opened ones for chores; a fuller, or emptier, current bundle is better.
    """
    num_items = len(values)
    bundles, load = np.zeros(1 << num_items, int), np.zeros(1 << num_items)
    bundles[0] = 1 if chores else 0
    for chosen, members, without in _layers(num_items):
        weight = load[without] + values[members]
        count = bundles[without]
        if chores:
            over = weight > level + tolerance
            count, weight = count + over, np.where(over, values[members], weight)
            best = np.lexsort((weight, count), axis=1)[:, 0]
        else:
            full = weight >= level - tolerance
            count, weight = count + full, np.where(full, 0.0, weight)
            best = np.lexsort((-weight, -count), axis=1)[:, 0]
        rows = np.arange(len(chosen))
        bundles[chosen], load[chosen] = count[rows, best], weight[rows, best]
    return bundles[-1]


def mms(values: Float[np.ndarray, " m"], num_agents: int, *, chores: bool = False) -> float:
    """Her maximin share exactly: the best worst bundle of all partitions into `num_agents`; m <= 14.

    Goods: max of the min; chores: min of the max. Some subset sum is the answer: read off for two agents, otherwise
    found by bisection with `m 2**m` work for each trial level. Levels within 1e-12 of the total count as equal.
    Raises: ValueError for more items, for a negative value, for fewer than one agent.
    """
    values = np.asarray(values, np.float64)
    checks.shape("values", values, (None,))
    checks.in_range("number of items", len(values), 1, MAX_ITEMS)
    checks.in_range("values", values, 0.0, np.inf)
    checks.at_least("num_agents", num_agents, 1)
    tolerance = 1e-12 * values.sum()
    levels = np.unique(_subset_sums(values))
    if num_agents == 2:  # the two bundles are a set and the rest
        return float(np.maximum(levels, values.sum() - levels).min() if chores else _smaller(levels, values).max())
    if chores:
        levels = levels[levels >= max(values.max(), values.sum() / num_agents) - tolerance]
        low, high = 0, len(levels) - 1  # the largest level, all items in one bundle, always works
        while low < high:
            middle = (low + high) // 2
            if _fill(values, levels[middle], tolerance, True) <= num_agents:
                high = middle
            else:
                low = middle + 1
        return float(levels[low])
    levels = levels[levels <= values.sum() / num_agents + tolerance]
    low, high = 0, len(levels) - 1  # level 0 always works
    while low < high:
        middle = (low + high + 1) // 2
        if levels[middle] <= tolerance or _fill(values, levels[middle], tolerance, False) >= num_agents:
            low = middle
        else:
            high = middle - 1
    return float(levels[low])


def mms_milp(values: Float[np.ndarray, " m"], num_agents: int, *, chores: bool = False) -> float:
    """`mms` by HiGHS: assignment variables and one level variable.

    The value returned is that of the solver's partition, summed here: the level variable itself is only feasible to
    the solver's tolerance of 1e-6, and so is the partition optimal.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    values = np.asarray(values, np.float64)
    num_items = len(values)
    sign = -1.0 if chores else 1.0
    once = np.kron(np.eye(num_items), np.ones((1, num_agents)))
    loads = np.kron(values[None, :], np.eye(num_agents))
    constraints = [
        LinearConstraint(np.hstack([once, np.zeros((num_items, 1))]), 1, 1),
        LinearConstraint(sign * np.hstack([loads, -np.ones((num_agents, 1))]), 0, np.inf),
    ]
    count = num_items * num_agents
    cost = np.zeros(count + 1)
    cost[-1] = -sign
    bounds = Bounds(0, np.append(np.ones(count), values.sum()))
    solved = milp(
        cost, integrality=np.append(np.ones(count), 0), bounds=bounds, constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )  # fmt: skip
    checks.require(solved.success, "the integer program", "be solved", solved.message)
    bundles = values @ np.round(solved.x[:-1].reshape(num_items, num_agents))
    return float(bundles.max() if chores else bundles.min())


def ratio(load: Float[np.ndarray, "... n"], share: Float[np.ndarray, "... n"], *, chores: bool) -> np.ndarray:
    """`[...]`: the worst agent's load over her share; a share of 0 is met by any load (goods; ratio 1 at most there).

    Goods: min_i load / MMS (1 where MMS is 0); chores: max_i load / MMS, where MMS > 0 always.
    """
    load, share = np.asarray(load, np.float64), np.asarray(share, np.float64)
    quotient = np.divide(load, share, out=np.ones_like(load), where=share > 0)
    return quotient.max(axis=-1) if chores else quotient.min(axis=-1)


def compositions(total: int, parts: int) -> Int[np.ndarray, "count parts"]:
    """All vectors of `parts` integers >= 0 with the given sum, in lexicographic order."""
    bars = np.array(list(itertools.combinations(range(total + parts - 1), parts - 1)), int).reshape(-1, parts - 1)
    edges = np.concatenate([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), total + parts - 1)], axis=1)
    return np.diff(edges, axis=1) - 1


class Worst(NamedTuple):
    ratio: float  # worst over all sequences
    values: Int[np.ndarray, "T n"]  # the first sequence that attains it, in units of 1/total
    num_sequences: int


def worst_on_grid(
    rule: str, total: int, num_items: int, *, num_agents: int = 2, chores: bool = False, equal: bool = False,
    batch_size: int = 1 << 16,
) -> Worst:  # fmt: skip
    """The worst ratio of a rule over ALL sequences of `num_items` items whose values are multiples of 1/total.

    Exhaustive: `C(total + num_items - 1, num_items - 1) ** num_agents` sequences, or as many as one agent has where
    `equal` values are asked for. The rule runs in float32 on multiples of 1/total; ties at its cuts fall as they fall.
    Raises: ValueError where rule, agents and kind of items do not fit, or there are more than 14 items.
    """
    columns = compositions(total, num_items)
    multisets, which_multiset = np.unique(np.sort(columns, axis=1), axis=0, return_inverse=True)
    shares = np.array([mms(items, num_agents, chores=chores) for items in multisets])[which_multiset.ravel()]
    params = scheduling.Params(num_steps=num_items, rule=rule)

    @jax.jit
    @jax.vmap
    def play(values):
        problem = scheduling.Problem(values / jnp.float32(total), chores)
        return scheduling.run(problem, params).trace.agent

    scheduling.validate(scheduling.Problem(np.full((num_items, num_agents), 1 / num_items), chores), params)
    count = len(columns) if equal else len(columns) ** num_agents
    worst = Worst(-np.inf if chores else np.inf, np.zeros((num_items, num_agents), int), count)
    size = min(batch_size, count)
    for start in range(0, count, size):
        lane = np.minimum(start + np.arange(size), count - 1)
        if equal:
            which = np.repeat(lane[:, None], num_agents, axis=1)
        else:
            which = np.stack(np.unravel_index(lane, (len(columns),) * num_agents), axis=1)
        values = columns[which].swapaxes(1, 2)  # [lane, item, agent]
        owner = np.asarray(play(values.astype(np.float32)))
        mine = owner[:, :, None] == np.arange(num_agents)
        measured = ratio((values * mine).sum(axis=1), shares[which], chores=chores)
        index = int(measured.argmax() if chores else measured.argmin())
        if (measured[index] > worst.ratio) if chores else (measured[index] < worst.ratio):
            worst = Worst(float(measured[index]), values[index], count)
    return worst


def game_value(total: int, num_items: int, *, num_agents: int = 2, chores: bool = False) -> float:
    """The ratio that the best deterministic algorithm gets against the best adversary on the grid.

    Values are multiples of 1/total, at most `num_items` items; the algorithm knows both numbers. Alpha-beta search
    with a table of positions (the multiset of items with their owners). A larger grid with the old one in it, or more
    items, can only make the value worse; every value is a valid bound on what any algorithm guarantees.
    """
    checks.at_least("total", total, 1)
    checks.in_range("num_items", num_items, 1, MAX_ITEMS)
    share = functools.cache(lambda column: mms(np.array(column), num_agents, chores=chores))
    table = {}

    def final(items):
        """Ratio, larger is worse for the algorithm: goods are negated."""
        loads = [sum(values[i] for owner, values in items if owner == i) for i in range(num_agents)]
        shares = [share(tuple(sorted(values[i] for _, values in items))) for i in range(num_agents)]
        measured = float(ratio(np.array(loads), np.array(shares), chores=chores))
        return measured if chores else -measured

    def adversary(items, left, alpha, beta):
        """Lower bound if >= beta, upper bound if <= alpha, exact between."""
        if not any(left):
            return final(items)
        key = (items, left)
        low, high = table.get(key, (-np.inf, np.inf))
        if low >= beta or low == high:
            return low
        if high <= alpha:
            return high
        best, floor = -np.inf, alpha
        last = len(items) == num_items - 1
        moves = [left] if last else itertools.product(*(range(k, -1, -1) for k in left))
        for move in moves:
            if not any(move):
                continue
            rest = tuple(a - b for a, b in zip(left, move, strict=True))
            answer = np.inf
            for agent in range(num_agents):
                child = tuple(sorted((*items, (agent, move))))
                answer = min(answer, adversary(child, rest, floor, min(beta, answer)))
                if answer <= floor:
                    break
            best = max(best, answer)
            floor = max(floor, best)
            if best >= beta:
                break
        if best <= alpha:
            high = min(high, best)
        elif best >= beta:
            low = max(low, best)
        else:
            low = high = best
        table[key] = (low, high)
        return best

    value = adversary((), (total,) * num_agents, -np.inf, np.inf)
    return value if chores else -value
