"""Intervals for the mean of heavy-tailed replicates, and the signs that they cannot be trusted.

A replicate of a randomized estimator has few finite moments (`bounds.moment_profile`): its sample variance converges
slowly, and from below, since rare large values are mostly absent. So an interval comes with the kurtosis, the share of
the spread that a thousandth of the replicates makes up, and the number of finite moments; and there is an estimate that
needs two moments only.

Moments of blocks are taken inside the program and merged, in the program or out of it. Formulas for the third and
fourth: Pebay 2008, the pairwise update of central moments.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from research.core import validate
from research.core.stats import Interval
from research.core.types import Array, Float
from research.mlmc import bounds

__all__ = [
    "MIN_BLOCKS", "CentralMoments", "Summary", "block_interval", "block_moments", "kurtosis", "median_of_means",
    "median_of_means_error", "median_of_means_groups", "merge_moments", "start_moments", "summary", "tail_share",
]  # fmt: skip

#: Fewest blocks whose means make an interval.
MIN_BLOCKS = 30


class CentralMoments(NamedTuple):
    """Of a stream of replicates; all fields of one shape."""

    count: Float[Array, "..."]
    mean: Float[Array, "..."]
    second: Float[Array, "..."]  # sum of (x - mean)**2
    third: Float[Array, "..."]  # sum of (x - mean)**3
    fourth: Float[Array, "..."]  # sum of (x - mean)**4
    largest: Float[Array, "..."]  # max |x|


def start_moments(shape: tuple[int, ...] = (), dtype=jnp.float32) -> CentralMoments:
    """Moments of nothing."""
    return CentralMoments(*(jnp.zeros(shape, dtype) for _ in range(6)))


def block_moments(values: Float[Array, "R ..."]) -> CentralMoments:
    """Moments of R >= 1 replicates along the first axis."""
    validate.require(len(values) > 0, "values", "have at least one replicate", f"shape {np.shape(values)}")
    values = jnp.asarray(values)
    mean = values.mean(axis=0)
    away = values - mean
    square = away**2
    count = jnp.full_like(mean, len(values))
    sums = (square.sum(axis=0), (away * square).sum(axis=0), (square**2).sum(axis=0))
    return CentralMoments(count, mean, *sums, jnp.abs(values).max(axis=0))


def merge_moments(a: CentralMoments, b: CentralMoments) -> CentralMoments:
    """Moments of two streams together; either may be empty."""
    count = a.count + b.count
    total = jnp.maximum(count, 1)
    left, right, change = a.count / total, b.count / total, b.mean - a.mean
    return CentralMoments(
        count,
        a.mean + change * right,
        a.second + b.second + change**2 * a.count * right,
        a.third
        + b.third
        + change**3 * a.count * right * (left - right)
        + 3 * change * (left * b.second - right * a.second),
        a.fourth
        + b.fourth
        + change**4 * a.count * right * (left**2 - left * right + right**2)
        + 6 * change**2 * (left**2 * b.second + right**2 * a.second)
        + 4 * change * (left * b.third - right * a.third),
        jnp.maximum(a.largest, b.largest),
    )


def kurtosis(moments: CentralMoments) -> Float[Array, "..."]:
    """Sample kurtosis n M4 / M2**2: 3 for normal replicates, at most n; NaN where all replicates are equal."""
    ratio = moments.fourth / jnp.where(moments.second > 0, moments.second, jnp.nan)
    return moments.count * ratio / moments.second


def tail_share(values, share: float = 1e-3) -> float:
    """Part of sum (x - mean)**2 that the given share of replicates, those farthest from the mean, makes up, in [0, 1].

    At least one replicate is taken. About 0.01 for normal replicates; near 1 the standard error rests on a few.
    NaN where all replicates are equal.
    """
    validate.require(0 < share <= 1, "share", "lie in (0, 1]", share)
    values = np.asarray(values, np.float64)
    validate.require(values.ndim == 1 and len(values) > 0, "values", "be one-dimensional, not empty", values.shape)
    squares = (values - values.mean()) ** 2
    count = math.ceil(share * len(values))
    total = squares.sum()
    return float(np.partition(squares, -count)[-count:].sum() / total) if total > 0 else math.nan


def block_interval(means, level: float = 0.95) -> Interval:
    """Normal interval from the means of independent, equally large blocks, `[K]`.

    Raises: ValueError for fewer than 30 blocks, or a level outside (0, 1).
    """
    validate.require(0 < level < 1, "level", "lie in (0, 1)", level)
    means = np.asarray(means, np.float64)
    validate.require(
        means.ndim == 1 and len(means) >= MIN_BLOCKS, "means", f"hold at least {MIN_BLOCKS} blocks", f"{means.shape}"
    )
    mean, half = means.mean(), special.ndtri(0.5 + level / 2) * means.std(ddof=1) / math.sqrt(len(means))
    return Interval(mean, mean - half, mean + half, len(means), level, "normal, block means")


def median_of_means_groups(alpha: float) -> int:
    """2 ceil(8 log(1/alpha)) + 1 groups, for an error probability of at most alpha."""
    validate.require(0 < alpha < 1, "alpha", "lie in (0, 1)", alpha)
    return 2 * math.ceil(8 * math.log(1 / alpha)) + 1


def median_of_means(values, alpha: float = 0.05) -> float:
    """The median of the means of `median_of_means_groups` groups of consecutive replicates, as equal as possible.

    Args:
      values: `[R]`, replicates or means of equally large blocks, with two finite moments; R >= number of groups.
    """
    values, groups = np.asarray(values, np.float64), median_of_means_groups(alpha)
    validate.require(values.ndim == 1 and len(values) >= groups, "values", f"hold at least {groups}", values.shape)
    return float(np.median([part.mean() for part in np.array_split(values, groups)]))


def median_of_means_error(deviation: float, count: int, alpha: float = 0.05) -> float:
    """|median of means - mean| <= this with probability >= 1 - alpha, for any law with the given standard deviation.

    A group of m replicates is off by more than sigma / sqrt(m q) with probability at most q (Chebyshev), and the median
    only where most groups are: q is the largest for which that has probability alpha. With q = 1/4 and Hoeffding's
    inequality it is the textbook's 2 sigma sqrt(k / n) for k >= 8 log(1/alpha) groups.
    """
    groups = median_of_means_groups(alpha)
    validate.at_least("count", count, groups)
    # Most groups: (k + 1)/2 of k, with P(Bin(k, q) >= j) the regularized incomplete beta function I_q(j, k - j + 1).
    most = (groups + 1) // 2
    chance = float(stats.beta.ppf(alpha, most, groups - most + 1))
    return deviation / math.sqrt(count // groups * chance)


class Summary(NamedTuple):
    """An interval with what speaks for or against it."""

    interval: Interval
    kurtosis: float
    largest_share: float  # of the spread, by the farthest 0.1 % of replicates
    finite_moments: float  # p_0 of the moment profile
    remark: str | None  # None, heavy-tailed, or variance infinite

    def __str__(self):
        half = (self.interval.high - self.interval.low) / 2
        text = f"{self.interval.mean:.6g} ± {half:.2g} ({self.interval.level:.0%}, {self.interval.n} blocks)"
        text += f", kurtosis {self.kurtosis:.3g}, {self.largest_share:.0%} of the spread from 0.1 % of replicates"
        return f"{text}; {self.remark}" if self.remark else text


def summary(values, finite_moments: float, blocks: int = MIN_BLOCKS, level: float = 0.95) -> Summary:
    """Everything at once, from replicates in hand.

    Args:
      values: `[R]` independent replicates, R >= blocks.
      finite_moments: p_0, the first entry of `bounds.moment_profile`.
      blocks: >= 30, of consecutive replicates; R modulo `blocks` replicates at the end enter all but the interval.
    """
    values = np.asarray(values, np.float64)
    validate.require(values.ndim == 1 and len(values) >= blocks, "values", f"hold at least {blocks}", values.shape)
    size = len(values) // blocks
    interval = block_interval(values[: size * blocks].reshape(blocks, size).mean(axis=1), level)
    away = values - values.mean()
    second = (away**2).mean()
    found = float((away**4).mean() / second**2) if second > 0 else math.nan
    return Summary(interval, found, tail_share(values), finite_moments, bounds.tail_remark(finite_moments))
