"""Schedules of Algorithm 1 that need fewer calls by their bounds: a random search within p_k = max(a / (k + 4), f).

The calls are those until `bounds.page_residual` at the largest certified step is `ACCURACY` L R. Host arithmetic alone.
"""

import numpy as np

from research.halpern import bounds, schedules

__all__ = ["ACCURACY", "calls", "search"]

#: Residual to be guaranteed, in units of L R.
ACCURACY = 1e-3


def calls(n: int, batch: int, refresh: schedules.Refresh) -> tuple[float, float]:
    """Expected calls until the bound is `ACCURACY` L R, and the certified eta L that it is for."""
    step = schedules.certified_limit(n, batch, refresh=refresh)
    k = np.arange(1, int(8 / (step * ACCURACY)))
    enough = int(k[np.argmax(np.asarray(bounds.page_residual(k.astype(np.float64), step, 1.0, 1.0)) <= ACCURACY)])
    at = np.arange(enough)
    chance = np.where(at <= 1, 1.0, np.minimum(np.maximum(refresh.decay / (at + 4), refresh.floor), 1.0))
    return float(np.sum(chance * n + (1 - chance) * 2 * batch)), step


def search(n: int, candidates: int, seed: int) -> np.ndarray:
    """The best of so many schedules around the published one and of that itself, as `experiments.halpern.certificate`
    describes it."""
    rng, root = np.random.default_rng(seed), n**0.5
    published, step = calls(n, schedules.batch_size(n), schedules.page_refresh(n))
    best = np.array([n, 4.0, schedules.page_refresh(n).floor * root, 1.0, step, 1.0])
    for _ in range(candidates):
        decay, floor, share = rng.uniform(2, 8), rng.uniform(0.5, 6), np.exp(rng.uniform(-0.7, 0.7))
        draws = max(1, round(share * root))
        needed, step = calls(n, draws, schedules.Refresh(decay, min(1.0, floor / root)))
        if needed < best[-1] * published:
            best = np.array([n, decay, floor, draws / root, step, needed / published])
    return best
