"""Quantile sets: the worked example W20, T20 on random sets, isotonic regression against SciPy; shrinkage, mixtures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from research.core import prng
from research.pooling import quantiles


@pytest.mark.usefixtures("x64")
def test_worked_example():
    values, levels = np.array([0.3, 0.1, 0.9]), np.array([0.1, 0.5, 0.9])

    @jax.jit
    def measured(values):
        sets = values, quantiles.sorted_quantiles(values), quantiles.isotonic(values)
        return sets[2], [quantiles.pinball(one, levels, jnp.array(0.5)) for one in sets]

    isotonic, losses = measured(values)
    np.testing.assert_allclose(isotonic, [0.2, 0.2, 0.9], rtol=1e-12)
    np.testing.assert_allclose(losses, [0.26, 0.18, 0.22], rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("repair", [quantiles.sorted_quantiles, quantiles.isotonic], ids=lambda f: f.__name__)
def test_repairs_never_raise_the_pinball_loss(repair):
    """T20: 2,000 random sets, levels and outcomes."""
    generator = np.random.default_rng(0)
    values, outcome = generator.normal(size=(2000, 7)), generator.normal(size=2000)
    levels = np.sort(generator.random(7))
    increase = jax.jit(functools.partial(quantiles.pinball_increase, repair))(values, levels, outcome)
    assert (increase <= 1e-12).all()
    assert (increase < -0.1).mean() > 0.5


@pytest.mark.usefixtures("x64")
def test_isotonic_is_the_weighted_least_squares_fit():
    generator = np.random.default_rng(1)
    values, weights = generator.normal(size=(50, 12)), generator.uniform(0.1, 3, 12)
    found = jax.jit(quantiles.isotonic)(values, weights)
    for row, fitted in zip(values, found, strict=True):
        np.testing.assert_allclose(fitted, optimize.isotonic_regression(row, weights=weights).x, atol=1e-12)
    once = np.sort(values, axis=1)
    np.testing.assert_array_equal(quantiles.isotonic(once), once)


@pytest.mark.usefixtures("x64")
def test_its_gradient_averages_over_blocks():
    """Of every set the Jacobian is the projection on sequences that are constant on SciPy's blocks."""
    generator = np.random.default_rng(2)
    values, weights = generator.normal(size=(20, 8)), generator.uniform(0.1, 3, 8)
    found = jax.jit(jax.vmap(jax.jacobian(lambda one: quantiles.isotonic(one, weights))))(values)
    for row, jacobian in zip(values, found, strict=True):
        blocks = optimize.isotonic_regression(row, weights=weights).blocks
        expected = np.zeros((8, 8))
        for start, end in zip(blocks[:-1], blocks[1:], strict=True):
            expected[start:end, start:end] = weights[start:end] / weights[start:end].sum()
        np.testing.assert_allclose(jacobian, expected, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_partial_pooling_is_the_posterior_mean():
    """Against the normal equations of the same model, with the common mean's flat prior; and its two limits."""
    generator = np.random.default_rng(3)
    x, mask = generator.normal(size=(6, 5, 1)), generator.random((6, 5)) < 0.6
    mask[0], mask[1] = False, True
    within, between = 0.7, 0.4
    pool = jax.jit(quantiles.partial_pool)
    found = np.asarray(pool(x, mask, within, between))[:, 0]
    groups = 6
    matrix, right = np.zeros((groups + 1, groups + 1)), np.zeros(groups + 1)
    for g in range(groups):  # unknowns: the groups' levels and their mean m
        matrix[g, g] = mask[g].sum() / within + 1 / between
        matrix[g, groups] = matrix[groups, g] = -1 / between
        matrix[groups, groups] += 1 / between
        right[g] = x[g, mask[g], 0].sum() / within
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right)[:groups], rtol=1e-10)
    together = np.asarray(pool(x, mask, within, 0.0))
    np.testing.assert_allclose(together, x[mask].mean(), rtol=1e-10)
    apart = np.asarray(pool(x, mask, 0.0, between))[1:, 0]
    np.testing.assert_allclose(apart, [x[g, mask[g], 0].mean() for g in range(1, 6)], rtol=1e-10)
    np.testing.assert_array_equal(pool(x, mask & False, within, between), 0)


@pytest.mark.usefixtures("x64")
def test_mixtures_over_orders():
    """An exchangeable model does not see the orders; of one that does, the mixture is at least the mean (Jensen)."""
    x = np.random.default_rng(4).normal(size=6)
    key = prng.root_key(0)

    def walk(x):
        return -0.5 * jnp.sum(jnp.diff(x) ** 2)

    @jax.jit
    def measured(x):
        exchangeable = quantiles.permutation_mixture(lambda x: -jnp.sum(x**2), x, key)
        mean = quantiles.permutation_mixture(walk, x, key, 500)
        return exchangeable, mean, quantiles.permutation_mixture(walk, x, key, 500, mixture=True)

    exchangeable, mean, mixture = measured(x)
    np.testing.assert_allclose(exchangeable, -np.sum(x**2))
    # Over all orders each pair is adjacent with probability 2 / n; Hoeffding at 1e-9 for terms within their range.
    gaps = np.subtract.outer(x, x) ** 2
    expected = -0.5 * gaps.sum() / len(x)
    width = 0.5 * 5 * gaps.max()
    assert abs(mean - expected) <= width * np.sqrt(np.log(2e9) / (2 * 500))
    assert mixture > mean


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: quantiles.isotonic(x, -jnp.ones(3)), r"weights must be positive and finite, got -1\.0 at index 0"),
        (lambda x: quantiles.isotonic(x, jnp.ones(2)), r"weights must have shape \(3\), got \(2,\)"),
        (
            lambda x: quantiles.pinball(x, np.array([0.1, 0.5, 1.5]), x[0]),
            r"levels must lie in \[0, 1\], got 1\.5 at index 2",
        ),
        (
            lambda x: quantiles.partial_pool(x[..., None], jnp.ones((3, 3), bool), -1.0, 1.0),
            r"within must lie in \[0, .*\], got -1\.0",
        ),
        (
            lambda x: quantiles.partial_pool(x[..., None], jnp.ones((3, 3), bool), 0.0, 0.0),
            r"within \+ between must be positive, got 0\.0",
        ),
        (
            lambda x: quantiles.permutation_mixture(jnp.sum, x, prng.root_key(0), 0),
            "draws must be >= 1, got 0",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((3, 3)))
