"""Intervals of blocks, shares of the tail, and the guarantee of medians of means."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.mlmc import intervals


class Blocks(NamedTuple):
    """A trace: sums of powers about each block's mean, its size, and the value of largest modulus."""

    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray
    largest: np.ndarray
    count: np.ndarray


def as_trace(values):
    mean = values.mean(axis=1)
    powers = [((values - mean[:, None]) ** power).sum(axis=1) for power in (2, 3, 4)]
    largest = np.take_along_axis(values, np.abs(values).argmax(axis=1)[:, None], axis=1)[:, 0]
    return Blocks(mean, *powers, largest, np.full(len(values), values.shape[1]))


def test_a_trace_says_what_its_replicates_say():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.standard_t(3, (40, rng.integers(2, 60))) + 10 * rng.normal()
        found = intervals.trace_summary(as_trace(values), 3.0)
        whole = intervals.summary(values.ravel(), 3.0, blocks=40)
        np.testing.assert_allclose(found.interval[:3], whole.interval[:3], rtol=1e-12)
        assert found.remark == whole.remark
        for kurtosis in (found.kurtosis, whole.kurtosis):
            assert math.isclose(kurtosis, stats.kurtosis(values, axis=None, fisher=False), rel_tol=1e-9)
        farthest = values[np.arange(40), np.abs(values).argmax(axis=1)]
        share = ((farthest - values.mean()) ** 2).sum() / (values.size * values.var())
        assert math.isclose(found.largest_share, share, rel_tol=1e-9)


def test_kurtosis_is_at_most_the_number_of_replicates():
    # Attained, up to 3/n, by one value far out.
    for n in (60, 990):
        lonely = np.zeros(n)
        lonely[-1] = 1
        for found in (intervals.summary(lonely, 9.0), intervals.trace_summary(as_trace(lonely.reshape(30, -1)), 9.0)):
            assert math.isclose(found.kurtosis, (n**2 - 3 * n + 3) / (n - 1), rel_tol=1e-9)
    level = intervals.summary(np.ones(60), 9.0)
    assert math.isnan(level.kurtosis)
    assert math.isnan(level.largest_share)
    assert math.isnan(intervals.trace_summary(as_trace(np.ones((30, 2))), 9.0).kurtosis)


def test_share_of_the_tail():
    values = np.concatenate([np.tile([-1.0, 1.0], 999), [-9.0, 9.0]])  # mean zero, two of 2000 far out
    assert intervals.tail_share(values) == 162 / (1998 + 162)
    assert intervals.tail_share(values, 1.0) == 1
    assert intervals.tail_share(values[:10]) == 0.1  # at least one
    assert math.isnan(intervals.tail_share(np.ones(4)))
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="share must lie in"):
            intervals.tail_share(values, share)
    with pytest.raises(ValueError, match="values must be one-dimensional, not empty"):
        intervals.tail_share(np.zeros((2, 2)))


def test_interval_of_blocks():
    means = np.random.default_rng(2).normal(3, 2, 40)
    found = intervals.block_interval(means, 0.9)
    expected = stats.norm.interval(0.9, means.mean(), stats.sem(means))
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-12)
    assert (found.n, found.kind) == (40, "normal, block means")
    with pytest.raises(ValueError, match=r"means must hold at least 30 blocks, got \(29,\)"):
        intervals.block_interval(means[:29])
    with pytest.raises(ValueError, match="level must lie in"):
        intervals.block_interval(means, 1.0)


def test_summary_says_what_is_wrong():
    rng = np.random.default_rng(3)
    calm = intervals.summary(rng.standard_normal(30_007), 9.0)
    assert calm.interval.n == 30
    assert calm.remark is None
    assert 2.8 < calm.kurtosis < 3.2
    assert str(calm).endswith(
        f"kurtosis {calm.kurtosis:.3g}, {calm.largest_share:.1%} of the spread from the farthest replicates"
    )
    heavy = intervals.summary(rng.standard_t(2.3, 30_007), 2.3)
    assert heavy.largest_share > 10 * calm.largest_share
    assert str(heavy).endswith("; heavy-tailed: fourth moment infinite")
    with pytest.raises(ValueError, match="values must hold at least 30"):
        intervals.summary(np.zeros(29), 4.0)


# ---- Medians of means ------------------------------------------------------------------------------------------------


def test_number_of_groups():
    assert [intervals.median_of_means_groups(alpha) for alpha in (0.5, 0.05, 0.01)] == [13, 49, 75]
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="alpha must lie in"):
            intervals.median_of_means_groups(alpha)
    values = np.arange(49.0)
    assert intervals.median_of_means(values) == 24
    with pytest.raises(ValueError, match=r"values must hold at least 49, got \(48,\)"):
        intervals.median_of_means(values[:48])
    with pytest.raises(ValueError, match="count must be >= 49, got 48"):
        intervals.median_of_means_error(1.0, 48)


def test_error_is_no_larger_than_the_textbook_bound():
    for alpha in (0.2, 0.05, 0.01, 1e-4):
        groups = intervals.median_of_means_groups(alpha)
        for size in (1, 10, 1000):
            error = intervals.median_of_means_error(1.0, groups * size, alpha)
            assert error <= 2 / math.sqrt(size)
            chance = 1 / (size * error**2)  # Chebyshev's for one group
            assert math.isclose(stats.binom.sf((groups - 1) // 2, groups, chance), alpha, rel_tol=1e-9)


def square_replicates(rng, rate, shape):
    """Single-term replicates of walk A1 with 2**n inner samples at level n, in law: level, mean and half difference."""
    level = rng.geometric(rate, shape) - 1
    v = 0.5**level
    middle = 0.5 + rng.standard_normal(shape) * np.sqrt(1 + v)
    half = rng.standard_normal(shape) * np.sqrt(v)
    return np.where(level == 0, middle**2, -(half**2)) / (rate * (1 - rate) ** level)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rate", [0.55, 0.6, 0.65, 0.7])
def test_medians_of_means_are_as_close_as_promised(rate):
    # Theorem: two moments suffice. 400 trials: at most alpha of them may miss, up to an excess that a binomial shows
    # with probability 1e-7.
    from research.mlmc import second_moments
    from research.mlmc.walks import walk

    problem, alpha, trials = walk("A1", jnp.float64), 0.05, 400
    deviation = math.sqrt(second_moments.single_variance(problem, rate))
    values = square_replicates(np.random.default_rng(4), rate, (trials, 49 * 20))
    off = np.array([abs(intervals.median_of_means(row, alpha) - problem.exact) for row in values])
    missed = np.sum(off > intervals.median_of_means_error(deviation, values.shape[1], alpha))
    assert missed <= stats.binom.isf(1e-7, trials, alpha)
