"""Simplex projections: worked examples, agreement, ties, derivatives; and the other proximal operators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.halpern import projections, proxes

METHODS = [projections.simplex, projections.simplex_by_sorting]


@pytest.mark.parametrize("project", METHODS)
@pytest.mark.parametrize(
    ("v", "radius", "expected"),
    [
        ((0.5, 0.8, -0.1), 1, (0.35, 0.65, 0)),
        ((0.2, 0.2, 0.2, 0.2), 1, (0.25, 0.25, 0.25, 0.25)),
        ((3, 1, 1), 1, (1, 0, 0)),
        ((0.4, 0.3, 0.2), 2, (0.4 + 1.1 / 3, 0.3 + 1.1 / 3, 0.2 + 1.1 / 3)),
        ((-7.0,), 1, (1,)),
    ],
)
def test_worked_examples(x64, project, v, radius, expected):
    np.testing.assert_allclose(project(jnp.array(v, jnp.float64), radius), expected, rtol=0, atol=1e-15)


def inputs(size):
    """Vectors near and far, with many ties, on a grid, geometric, already on the simplex."""
    rng = np.random.default_rng(size)
    uniform = np.full(size, 1 / size)
    rows = [rng.normal(size=size) * s for s in (1e-3, 1, 30)]
    rows += [uniform + rng.normal(size=size) / size / 10, uniform, np.zeros(size), rng.dirichlet(np.ones(size))]
    rows += [rng.integers(0, 3, size) / 3, np.sort(rng.integers(0, 2, size)) * 1e-9, 0.5 ** np.arange(size)]
    rows += [-np.sqrt(np.arange(size)), rng.normal(size=size) + 1e3]
    return jnp.asarray(np.stack(rows), jnp.float64)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 133])
def test_both_agree(x64, size):
    batch = inputs(size)
    swept, by_sorting = (jax.jit(jax.vmap(project))(batch) for project in METHODS)
    np.testing.assert_allclose(swept, by_sorting, rtol=0, atol=1e-12)
    np.testing.assert_allclose(jnp.sum(swept, axis=1), 1, rtol=0, atol=1e-12)
    alone = jax.jit(projections.simplex)
    for row, projected in zip(batch, swept, strict=True):
        np.testing.assert_allclose(alone(row), projected, rtol=0, atol=1e-15)


def test_is_the_nearest_point(x64):
    """<v - P v, w - P v> <= 0 for every point w of the simplex: it is enough to ask the vertices."""
    batch = inputs(40) * 3
    projected = jax.vmap(lambda v: projections.simplex(v, 2.5))(batch)
    assert float(jnp.min(projected)) >= 0
    residual = batch - projected
    slack = 2.5 * jnp.max(residual, axis=1) - jnp.sum(residual * projected, axis=1)
    np.testing.assert_array_less(np.asarray(slack), 1e-11 * (1 + np.max(np.abs(batch), axis=1)))


def test_single_precision_does_not_suffer_from_a_common_shift():
    v = jax.random.normal(prng.root_key(0), (200,)) / 4 + 1000
    assert abs(float(jnp.sum(projections.simplex(v))) - 1) < 2e-4  # of entries with a spacing of 6e-5


def test_slow_inputs_still_end_and_agree(x64):
    """Entries that drop out a few at a time: more sweeps than any cap would allow for, and no error."""
    values = [0.0]
    for k in range(1, 60):
        values.append((sum(values) - 1) / k - 1e-9 * k)
    v = jnp.asarray(values, jnp.float64)
    np.testing.assert_allclose(projections.simplex(v), projections.simplex_by_sorting(v), rtol=0, atol=1e-12)


def test_differentiates(x64):
    from jax.test_util import check_grads

    v = jnp.asarray(np.random.default_rng(0).normal(size=30), jnp.float64)
    check_grads(projections.simplex, (v, jnp.float64(1.5)), order=1, modes=("fwd", "rev"), eps=1e-6)


def test_not_a_number_ends():
    assert np.isnan(projections.simplex(jnp.array([jnp.nan, 0.0]))).all()


def test_the_other_operators_minimise_what_they_should(x64):
    """prox(v) minimises G + |. - v|^2 / 2t; compared with a fine grid, coordinate by coordinate."""
    v = jnp.array([-2.0, -0.04, 0.0, 0.7, 3.0], jnp.float64)
    step = 0.5
    box, l1 = proxes.Box(jnp.float64(-0.5), jnp.float64(1.25)), proxes.L1(0.1)
    grid = np.linspace(-4, 4, 80_001)
    away = (grid[:, None] - np.asarray(v)[None]) ** 2 / (2 * step)
    allowed = np.where((grid >= -0.5) & (grid <= 1.25), 0, np.inf)[:, None]
    np.testing.assert_allclose(box(v, step), grid[np.argmin(away + allowed, axis=0)], rtol=0, atol=1e-4)
    np.testing.assert_allclose(l1(v, step), grid[np.argmin(away + 0.1 * abs(grid)[:, None], axis=0)], rtol=0, atol=1e-4)
    pair = proxes.Product((l1, proxes.Product({"free": proxes.Nothing(), "share": proxes.Simplex(2.0)})))
    first, second = pair((v, {"free": v, "share": v}), step)
    np.testing.assert_array_equal(first, l1(v, step))
    np.testing.assert_array_equal(second["free"], v)
    np.testing.assert_array_equal(second["share"], projections.simplex(v, 2.0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: proxes.Box(jnp.array([0.0, 2.0]), jnp.array([1.0, 1.0])), r"Box\.low must be <= Box\.high everywhere"),
        (lambda: proxes.Box(jnp.nan, 1.0), r"Box\.low must be <= Box\.high"),
        (lambda: proxes.L1(-0.1), r"L1\.weight must be >= 0, got -0\.1\."),
        (lambda: proxes.Simplex(0.0), r"Simplex\.radius must be positive and finite, got 0\.0\."),
    ],
)
def test_bad_operators_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
