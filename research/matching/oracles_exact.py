"""Independent references in NumPy: pivotal sampling and roundings by enumeration, the philosopher, a batch simulator.

Written from the definitions, one outcome at a time, and sharing no code with what they check. Sets are bit masks.
Source: `braverman:24`; the discarding rules are derived in `rounding`.
"""

import itertools

import numpy as np

from research.core.types import Array, Float

__all__ = ["pivotal_law", "random_allocation", "rounding_law", "simulate", "subset_values"]


def pivotal_law(v: Float[np.ndarray, " m"], order: Array | None = None) -> dict[int, float]:
    """Probability of every set that pivotal sampling of `v`, in `order` (by index if None), can select."""
    law: dict[int, float] = {}
    order = range(len(v)) if order is None else order

    def end(chosen, probability):
        if probability > 0:
            law[chosen] = law.get(chosen, 0.0) + probability

    def go(position, pivot, share, chosen, probability):
        if probability == 0:
            return
        if position == len(order):
            end(chosen | (1 << pivot if pivot is not None else 0), probability * share)
            end(chosen, probability * (1 - share))
            return
        k = int(order[position])
        value, total = v[k], share + v[k]
        if value <= 0:
            branches = [(pivot, share, chosen, 1.0)]
        elif value >= 1:
            branches = [(pivot, share, chosen | 1 << k, 1.0)]
        elif pivot is None:
            branches = [(k, value, chosen, 1.0)]
        elif total <= 1:
            branches = [(pivot, total, chosen, share / total), (k, total, chosen, value / total)]
            if total >= 1 - 1e-15:
                branches = [(None, 0.0, chosen | 1 << winner, chance) for winner, _, _, chance in branches]
        else:
            first, left = (1 - value) / (2 - total), total - 1
            branches = [(k, left, chosen | 1 << pivot, first), (pivot, left, chosen | 1 << k, 1 - first)]
            if left <= 1e-15:
                branches = [(None, 0.0, selected, chance) for _, _, selected, chance in branches]
        for new_pivot, new_share, selected, chance in branches:
            go(position + 1, new_pivot, new_share, selected, probability * chance)

    go(0, None, 0.0, 0, 1.0)
    return law


def rounding_law(weights, arrivals, rates, mode: str) -> tuple[Float[np.ndarray, "T+1 S"], float]:
    """Law of the free set before each time and after the last, and the value; "pivotal", "closed_form" or "naive".

    "naive" is "pivotal" without its discarding rule: all proposers leave if somebody arrives, and nobody otherwise. It
    has the same marginals, and free nodes that are positively dependent.

    Arrays as in `rounding.Problem`; a few nodes only, since every outcome of every free set is visited.
    """
    weights, arrivals, rates = (np.asarray(x, np.float64) for x in (weights, arrivals, rates))
    if arrivals.ndim == 1:
        weights, arrivals, rates = weights[..., None], arrivals[:, None], rates[..., None]
    weights = np.broadcast_to(weights, rates.shape)
    num_nodes, num_steps, _ = rates.shape
    laws, value = [np.eye(1 << num_nodes)[-1]], 0.0
    step = {"pivotal": _pivotal_step, "closed_form": _closed_form_step, "naive": _naive_step}[mode]
    for t in range(num_steps):
        law = np.zeros(1 << num_nodes)
        for free in np.flatnonzero(laws[-1]):
            inside = (free >> np.arange(num_nodes)) & 1
            for gone, reward, chance in step(inside, weights[:, t], arrivals[t], rates[:, t]):
                law[free & ~gone] += laws[-1][free] * chance
                value += laws[-1][free] * chance * reward
        laws.append(law)
    return np.stack(laws), value


def _pivotal_step(inside, weights, arrivals, rates):
    """Outcomes (leaving set, reward, probability) of one time, Bernoulli."""
    p = arrivals[0]
    order = np.argsort(-weights[:, 0], kind="stable")
    for proposers, chance in pivotal_law(inside * rates[:, 0], order).items():
        members = [i for i in order if proposers >> i & 1]
        losers = members[1:]
        for fates in itertools.product((0, 1), repeat=len(losers)):
            gone = sum(1 << i for i, fate in zip(losers, fates, strict=True) if fate)
            odds = chance * np.prod([p if fate else 1 - p for fate in fates])
            if members:
                yield gone | 1 << members[0], weights[members[0], 0], odds * p
            yield gone, 0.0, odds * (1 - p if members else 1)


def _naive_step(inside, weights, arrivals, rates):
    p = arrivals[0]
    for proposers, chance in pivotal_law(inside * rates[:, 0], np.argsort(-weights[:, 0], kind="stable")).items():
        best = max((weights[i, 0] for i in range(len(inside)) if proposers >> i & 1), default=0.0)
        yield proposers, best, chance * p
        yield 0, 0.0, chance * (1 - p)


def _closed_form_step(inside, weights, arrivals, rates):
    best = np.zeros_like(rates)
    for j in range(rates.shape[1]):
        total = 0.0
        for i in np.argsort(-weights[:, j], kind="stable"):
            wanted = inside[i] * rates[i, j]
            best[i, j] = min(1, total + wanted) - min(1, total)
            total += wanted
    matched = best @ arrivals
    wanted = (inside[:, None] * rates) @ arrivals
    discard = np.where(matched < 1, (wanted - matched) / np.where(matched < 1, 1 - matched, 1), 0)
    nodes = np.flatnonzero(inside)
    outcomes = [(0, 0.0, 1 - matched.sum())]
    for i, j in itertools.product(nodes, range(rates.shape[1])):
        outcomes.append((1 << int(i), weights[i, j], arrivals[j] * best[i, j]))
    for fates in itertools.product((0, 1), repeat=len(nodes)):
        odds = np.prod([discard[i] if fate else 1 - discard[i] for i, fate in zip(nodes, fates, strict=True)])
        gone = sum(1 << int(i) for i, fate in zip(nodes, fates, strict=True) if fate)
        for match, reward, chance in outcomes:
            yield gone | match, reward, odds * chance


def subset_values(weights, arrivals) -> Float[np.ndarray, "T+1 S"]:
    """V_t of every free set, from the recursion as it is written; Bernoulli or typed."""
    weights, arrivals = (np.asarray(x, np.float64) for x in (weights, arrivals))
    if arrivals.ndim == 1:
        weights, arrivals = weights[..., None], arrivals[:, None]
    weights = np.broadcast_to(weights, (weights.shape[0], *arrivals.shape))
    values = np.zeros((arrivals.shape[0] + 1, 1 << weights.shape[0]))
    for t in reversed(range(arrivals.shape[0])):
        later = values[t + 1]
        for free in range(len(later)):
            nodes = [i for i in range(weights.shape[0]) if free >> i & 1]
            value = (1 - arrivals[t].sum()) * later[free]
            for j, p in enumerate(arrivals[t]):
                value += p * max([later[free]] + [weights[i, t, j] + later[free & ~(1 << i)] for i in nodes])
            values[t, free] = value
    return values


def simulate(weights, arrivals, rates, num_runs: int, rng: np.random.Generator) -> Float[np.ndarray, " R"]:
    """Values of many runs of the closed form, Bernoulli, vectorised over runs; the peer of `simulation.simulate`."""
    weights, arrivals, rates = (np.asarray(x, np.float32) for x in (weights, arrivals, rates))
    free, value = np.ones((weights.shape[0], num_runs), np.float32), np.zeros(num_runs)
    for t, p in enumerate(arrivals):
        order = np.argsort(-weights[:, t], kind="stable")
        wanted = free[order] * rates[order, t][:, None]
        reached = np.cumsum(wanted, axis=0)
        top, bottom = np.minimum(1, reached), np.minimum(1, reached - wanted)
        uniform = rng.random(num_runs, np.float32)
        arrived = rng.random(num_runs, np.float32) < p
        matched = arrived & (bottom <= uniform) & (uniform < top)
        best = top - bottom
        discarded = rng.random(free.shape, np.float32) * (1 - p * best) < p * (wanted - best)
        value += np.where(matched, weights[order, t][:, None], 0).sum(0)
        free[order] = np.where(matched | discarded, 0, free[order])
    return value


def random_allocation(rng: np.random.Generator, arrivals, num_offline: int) -> Float[np.ndarray, "n T *J"]:
    """A random point of the polytope of LP-OnOpt, often on its boundary: what a rounding must cope with.

    At every time random shares of what is possible, scaled down where they exceed p_t.
    """
    arrivals = np.asarray(arrivals, np.float64)
    columns = arrivals.reshape(arrivals.shape[0], -1)
    given, free = np.zeros((num_offline, *columns.shape)), np.ones(num_offline)
    for t, p in enumerate(columns):
        wanted = rng.random((num_offline, p.size)) ** rng.choice([0.2, 1.0, 4.0]) * p * free[:, None]
        wanted *= p / np.maximum(np.maximum(wanted.sum(0), p), 1e-300)
        given[:, t] = wanted
        free = np.maximum(0, free - wanted.sum(1))
    return given.reshape(num_offline, *arrivals.shape)
