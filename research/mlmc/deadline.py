"""Stopping by time: why the number of replicates is fixed beforehand, and a rule for when it cannot be.

Cost and value of a replicate depend on each other: both grow with its levels. Whoever stops many workers at a deadline
and pools what they have completed has too many cheap replicates, and keeps that bias however many workers there are.

The rule: a worker runs one replicate after another, always finishes its first one, and reports the mean of those
completed by the deadline; means of workers count equally. Given how many a worker has completed, its replicates before
the last one begun are exchangeable, and the mean over workers is unbiased at every deadline.
Source: derived; `glynn:90` for estimators under a time limit.
"""

from typing import NamedTuple

import numpy as np

from research.core import validate
from research.core.types import Array, Float, Int

__all__ = ["Workers", "completed", "pooled_mean", "rule_mean", "rule_means"]


class Workers(NamedTuple):
    """Replicates `[W, M]` in the order in which W workers run them, with their leaves, the unit of time."""

    value: Float[Array, "W M"]
    leaves: Int[Array, "W M"]


def completed(workers: Workers, budget: int) -> np.ndarray:
    """Replicates `[W]` that each worker has completed when it has had the time for `budget` leaves.

    Raises: ValueError for a budget below 1, or one that a worker's replicates do not use up.
    """
    validate.at_least("budget", budget, 1)
    spent = np.cumsum(np.asarray(workers.leaves, np.int64), axis=1)
    short = np.flatnonzero(spent[:, -1] < budget)
    validate.require(not len(short), "workers", f"have {budget} leaves each", f"{spent[short[:1], -1]} for {short[:1]}")
    return (spent <= budget).sum(axis=1)


def _sums(workers, number):
    value = np.asarray(workers.value, np.float64)
    return np.where(np.arange(value.shape[1]) < number[:, None], value, 0).sum(axis=1)


def pooled_mean(workers: Workers, budget: int) -> float:
    """The mean of all completed replicates of all workers: biased."""
    number = completed(workers, budget)
    return float(_sums(workers, number).sum() / number.sum())


def rule_means(workers: Workers, budget: int) -> np.ndarray:
    """What each worker reports under the rule, `[W]`: independent, and unbiased."""
    number = np.maximum(completed(workers, budget), 1)
    return _sums(workers, number) / number


def rule_mean(workers: Workers, budget: int) -> tuple[float, float]:
    """The mean over workers under the rule, and its standard error."""
    means = rule_means(workers, budget)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))
