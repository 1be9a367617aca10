"""Statistics against textbook values, and coverage where an interval claims it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import stats


def test_streaming_moments_equal_numpy(x64):
    x = np.random.RandomState(0).normal(1e6, 1.0, (1000, 3))  # a mean far from 0 breaks the sum-of-squares formula
    start = stats.start_moments((3,), jnp.float64)
    moments, _ = jax.lax.scan(lambda m, row: (stats.update_moments(m, row), None), start, jnp.asarray(x))
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(stats.variance(moments), x.var(axis=0, ddof=1), rtol=1e-9)


def test_merged_moments_equal_those_of_the_union(x64):
    x = np.random.RandomState(1).normal(size=50)

    def of(values):
        moments = stats.start_moments((), jnp.float64)
        for value in values:
            moments = stats.update_moments(moments, value)
        return moments

    for split in (0, 1, 20, 50):
        merged = stats.merge(of(x[:split]), of(x[split:]))
        np.testing.assert_allclose(merged, of(x), rtol=1e-12)
    assert np.isnan(stats.variance(of(x[:1])))
    np.testing.assert_array_equal(stats.merge(of([]), of([])), [0, 0, 0])


def test_t_interval_of_a_textbook_sample():
    # 1..5: mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445105
    found = stats.t_interval([1, 2, 3, 4, 5])
    half = 2.776445105 * np.sqrt(2.5 / 5)
    np.testing.assert_allclose([found.mean, found.low, found.high], [3, 3 - half, 3 + half], rtol=1e-9)
    assert (found.n, found.kind) == (5, "t")


def test_one_replicate_says_nothing_of_the_spread():
    found = stats.t_interval([[2.0, 3.0]])
    np.testing.assert_array_equal(found.mean, [2, 3])
    assert np.isinf(found.low).all()
    assert np.isinf(found.high).all()


def test_t_interval_covers_its_level():
    # 4,000 samples of 8 normals; a 95 % interval covers 3,800 +- 13.8 (binomial), so 5.2 deviations (false alarm
    # below 1e-6) are 72; fixed seed.
    x = np.random.RandomState(5).normal(2.0, 3.0, (8, 4000))
    found = stats.t_interval(x)
    assert abs(((found.low <= 2) & (found.high >= 2)).sum() - 3800) <= 72


def test_bootstrap_interval_agrees_with_t_on_a_normal_sample():
    x = np.random.RandomState(2).normal(size=400)
    boot, student = stats.bootstrap_interval(x, seed=0, resamples=2000), stats.t_interval(x)
    np.testing.assert_allclose([boot.low, boot.high], [student.low, student.high], atol=0.015)
    again = stats.bootstrap_interval(x, seed=0, resamples=2000)
    assert (boot.low, boot.high) == (again.low, again.high)
    constant = stats.bootstrap_interval([3.0, 3.0, 3.0], seed=0)
    assert (constant.low, constant.high) == (3, 3)


def test_sub_gaussian_interval_is_hoeffdings():
    found = stats.sub_gaussian_interval(np.full(200, 0.5), width=1.0)
    np.testing.assert_allclose(found.high - found.mean, np.sqrt(np.log(40) / 400), rtol=1e-12)


def test_rate_fit_recovers_an_exact_power_law():
    x = np.array([1, 2, 4, 8, 16.0])
    fit = stats.rate_fit(x, 3 * x**-0.5)
    np.testing.assert_allclose([fit.slope, fit.scale], [-0.5, 3.0], rtol=1e-12)
    noisy = stats.rate_fit(x, 3 * x**-0.5 * np.exp([0.1, -0.1, 0.05, 0.1, -0.1]))
    assert noisy.low < -0.5 < noisy.high


def test_pairing_removes_the_common_part():
    common = np.random.RandomState(3).normal(scale=100, size=30)
    a, b = common + 1 + 1e-3 * np.sin(np.arange(30)), common
    paired = stats.paired_difference(a, b)
    assert paired.low > 0.999
    assert paired.high < 1.001
    assert stats.t_interval(a).high - stats.t_interval(a).low > 50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.t_interval([]), "x must have at least one replicate, got shape (0,)."),
        (lambda: stats.t_interval([1, 2], level=95), "level must lie in (0, 1), got 95."),
        (
            lambda: stats.bootstrap_interval([1.0], seed=0),
            "x must be one-dimensional with at least two entries, got shape (1,).",
        ),
        (lambda: stats.sub_gaussian_interval([1, 2], width=0), "width must be positive, got 0."),
        (lambda: stats.rate_fit([1, 2], [1, 2]), "x must hold at least three positive numbers, got [1. 2.]."),
        (lambda: stats.rate_fit([1, 2, 3], [1, 0, 2]), "y must hold at least three positive numbers, got [1. 0. 2.]."),
        (lambda: stats.paired_difference([1, 2], [1]), "a and b must have equal shapes, got (2,) and (1,)."),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (compared whole below)
        call()
    assert str(caught.value) == message
