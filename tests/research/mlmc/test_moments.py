"""Four moments merged batch by batch are those of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.mlmc import moments


@jax.jit
def _extended(total, x, valid):
    return moments.merge(total, moments.of_batch(x, valid))


def _whole(x):
    off = x - x.mean()
    return len(x), x.mean(), *((off**power).sum() for power in (2, 3, 4))


def test_merging_gives_the_moments_of_the_union(x64):
    x = np.random.default_rng(0).gamma(0.5, size=300) + 50
    total = moments.start(dtype=jnp.float64)
    for part in (x[:1], x[1:40], x[40:40], x[40:]):
        padded = np.full(300, np.nan)
        padded[: len(part)] = part
        total = _extended(total, jnp.asarray(padded), jnp.asarray(np.arange(300) < len(part)))
    np.testing.assert_allclose(total, _whole(x), rtol=1e-11)
    assert float(moments.variance(total, 1)) == pytest.approx(x.var(ddof=1), rel=1e-12)
    assert float(moments.kurtosis(total)) == pytest.approx(300 * _whole(x)[4] / _whole(x)[2] ** 2, rel=1e-10)


def test_a_large_mean_costs_no_digits_of_the_spread():
    """In float32 a difference of raw moments would have a relative error beyond 1 here: 1000**2 * 6e-8 * 3 = 0.2."""
    x = (1000 + 0.25 * np.random.default_rng(1).standard_normal(4096)).astype(np.float32)
    total = moments.start()
    for part in x.reshape(8, -1):
        total = _extended(total, jnp.asarray(part), jnp.ones(part.shape, bool))
    exact = _whole(x.astype(np.float64))
    assert float(total.second) == pytest.approx(exact[2], rel=2e-3)
    assert float(total.fourth) == pytest.approx(exact[4], rel=2e-3)


def test_without_spread_there_is_no_kurtosis():
    same = _extended(moments.start(), jnp.ones(512), jnp.ones(512, bool))
    assert float(same.second) == 0
    assert np.isnan(moments.kurtosis(same))
    assert np.isnan(moments.variance(moments.start()))
