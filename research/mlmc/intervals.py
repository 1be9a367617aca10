"""Intervals for the mean of heavy-tailed replicates, and the signs that they cannot be trusted.

A replicate of a randomized estimator has few finite moments (`bounds.moment_profile`): its sample variance converges
slowly, and from below, since rare large values are mostly absent. So an interval comes with the kurtosis, the share of
the spread that a thousandth of the replicates makes up, and the number of finite moments; and there is an estimate that
needs two moments only.

Everything here runs on the host, on replicates in hand or on the blocks of a trace (`read.Info`); moments of a stream
inside a program are in `moments`.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from research.core import validate
from research.core.stats import Interval
from research.mlmc import bounds

__all__ = [
    "MIN_BLOCKS", "Summary", "block_interval", "median_of_means", "median_of_means_error", "median_of_means_groups",
    "summary", "tail_share", "trace_summary",
]  # fmt: skip

#: Fewest blocks whose means make an interval.
MIN_BLOCKS = 30


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
    kurtosis: float  # 3 for normal replicates, at most their number; NaN where all are equal
    largest_share: float  # of the spread, by the farthest 0.1 % of replicates, or the farthest of each block
    finite_moments: float  # p_0 of the moment profile
    remark: str | None  # None, heavy-tailed, or variance infinite

    def __str__(self):
        half = (self.interval.high - self.interval.low) / 2
        text = f"{self.interval.mean:.6g} ± {half:.2g} ({self.interval.level:.0%}, {self.interval.n} blocks)"
        text += f", kurtosis {self.kurtosis:.3g}, {self.largest_share:.1%} of the spread from the farthest replicates"
        return f"{text}; {self.remark}" if self.remark else text


def summary(values, finite_moments: float, blocks: int = MIN_BLOCKS, level: float = 0.95) -> Summary:
    """Everything at once, from replicates in hand.

    Args:
      values: `[R]` independent replicates, R >= blocks.
      finite_moments: p_0, the first entry of `bounds.moment_profile`.
      blocks: >= 30, of consecutive replicates; the last R modulo `blocks` replicates enter all but the interval.
    """
    values = np.asarray(values, np.float64)
    validate.require(values.ndim == 1 and len(values) >= blocks, "values", f"hold at least {blocks}", values.shape)
    size = len(values) // blocks
    interval = block_interval(values[: size * blocks].reshape(blocks, size).mean(axis=1), level)
    away = values - values.mean()
    found = _kurtosis(len(values), (away**2).sum(), (away**4).sum())
    return Summary(interval, found, tail_share(values), finite_moments, bounds.tail_remark(finite_moments))


def trace_summary(trace, finite_moments: float, level: float = 0.95) -> Summary:
    """The same from a run's blocks, at least 30 of equal size: `read.Result.trace`.

    Args:
      trace: `mean`, `m2`, `m3`, `m4`, `largest` and `count`, each `[K]`; sums of powers are about the block's mean.
    """
    mean, second, third, fourth, largest, count = (
        np.asarray(getattr(trace, name), np.float64) for name in ("mean", "m2", "m3", "m4", "largest", "count")
    )
    interval = block_interval(mean, level)
    middle = mean @ count / count.sum()
    away = mean - middle
    spread = (second + count * away**2).sum()
    found = _kurtosis(count.sum(), spread, (fourth + 4 * away * third + 6 * away**2 * second + count * away**4).sum())
    share = float(((largest - middle) ** 2).sum() / spread) if spread > 0 else math.nan
    return Summary(interval, found, share, finite_moments, bounds.tail_remark(finite_moments))


def _kurtosis(count: float, second: float, fourth: float) -> float:
    return float(fourth / second * (count / second)) if second > 0 else math.nan
