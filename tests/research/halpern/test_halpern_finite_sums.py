"""Least squares, logistic regression, feasibility: class A with exact constants; and draws by alias."""

import enumerated_draws
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.halpern import finite_sums, proxes, sampling
from research.halpern.inclusions import natural_residual

FEATURES = np.random.default_rng(0).normal(size=(7, 3)) * np.r_[1, 4, 0.1, 1, 2, 0, 1][:, None]
SIGNS = np.array([1.0, -1, 1, 1, -1, 1, -1])


def pairs(count=32, dim=3):
    new, old = np.random.default_rng(1).normal(size=(2, count, dim)) * np.geomspace(0.01, 10, count)[:, None]
    return jnp.asarray(new), jnp.asarray(old)


@pytest.mark.parametrize("law", finite_sums.LAWS)
@pytest.mark.parametrize("build", [finite_sums.least_squares, finite_sums.logistic])
def test_cocoercive_on_average(x64, build, law):
    """E|estimate|^2 <= L <F move, move>; an equality for least squares drawn by importance."""
    model = build(jnp.asarray(FEATURES), jnp.asarray(SIGNS), law=law)
    slope = 1 if build is finite_sums.least_squares else 1 / 4
    size = np.sum(FEATURES**2, axis=1)
    np.testing.assert_allclose(model.lipschitz, slope * (size.max() if law == "uniform" else size.mean()), rtol=1e-12)
    np.testing.assert_allclose(model.lipschitz_full, slope * np.linalg.norm(FEATURES, 2) ** 2 / 7, rtol=1e-12)
    bias, _, second, change, _ = enumerated_draws.measure(model, *pairs())
    np.testing.assert_allclose(bias, 0, rtol=0, atol=1e-11)
    assert second.max() <= model.lipschitz * (1 + 1e-12)
    assert change.max() <= model.lipschitz_full * (1 + 1e-12)
    if build is finite_sums.least_squares and law == "importance":
        np.testing.assert_allclose(second, model.lipschitz, rtol=1e-10)


@pytest.mark.parametrize("build", [finite_sums.least_squares, finite_sums.logistic])
def test_is_the_gradient_of_its_loss(x64, build):
    model = build(jnp.asarray(FEATURES), jnp.asarray(SIGNS))
    if build is finite_sums.least_squares:
        loss = lambda u: jnp.mean((FEATURES @ u - SIGNS) ** 2) / 2  # noqa: E731
    else:
        loss = lambda u: jnp.mean(jnp.logaddexp(0, -SIGNS * (FEATURES @ u)))  # noqa: E731
    u = jnp.array([0.3, -1.0, 2.0], jnp.float64)
    np.testing.assert_allclose(model.full(u), jax.grad(loss)(u), rtol=1e-12)


def test_half_spaces(x64):
    rng = np.random.default_rng(2)
    normals, inside = rng.normal(size=(7, 3)), rng.normal(size=3)
    offsets = normals @ inside + rng.uniform(0, 1, 7)
    model = finite_sums.feasibility(jnp.asarray(normals), jnp.asarray(offsets))
    assert float(model.lipschitz) == 1
    bias, _, second, change, _ = enumerated_draws.measure(model, *pairs())
    np.testing.assert_allclose(bias, 0, rtol=0, atol=1e-12)
    moving = np.isfinite(second)  # not where both points meet all half-spaces
    assert second[moving].max() <= 1 + 1e-12
    assert change.max() <= model.lipschitz_full * (1 + 1e-12)
    np.testing.assert_array_equal(model.full(jnp.asarray(inside)), 0)
    # One step of u - F_i(u) is the projection: onto the boundary, along the normal.
    u = jnp.asarray(inside + 10 * normals[0])
    step = model.difference(jnp.array([[0]]), u, jnp.asarray(inside))
    np.testing.assert_allclose(normals[0] @ (u - step), offsets[0], rtol=1e-12)
    np.testing.assert_allclose(np.cross(step, normals[0]), 0, atol=1e-12)


def test_residual_vanishes_at_a_constrained_solution(x64):
    """The box solution of a separable problem is its clipped minimiser."""
    box = proxes.Box(jnp.float64(-0.5), jnp.float64(1.25))
    model = finite_sums.least_squares(
        jnp.diag(jnp.array([1.0, 2.0, 3.0])), jnp.array([3.0, -4.0, 1.0]), regulariser=box
    )
    u = jnp.array([1.25, -0.5, 1 / 3], jnp.float64)
    assert float(natural_residual(model, u)) < 1e-15
    assert float(natural_residual(model, u + 0.1)) > 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unrolled_draws_are_those_of_jax(x64, dtype):
    key, shape = prng.stream(prng.root_key(3), "words"), (33, 5)
    got = sampling.unit_interval(key, shape, dtype)
    np.testing.assert_array_equal(got, jax.random.uniform(key, shape, dtype))
    assert got.dtype == dtype
    coins = sampling.bernoulli(key, jnp.asarray(0.3, dtype), shape)
    np.testing.assert_array_equal(coins, jax.random.bernoulli(key, jnp.asarray(0.3, dtype), shape))


@pytest.mark.parametrize(
    "law",
    [[1.0], [0, 0, 1.0], [0.5, 0, 0.5, 0], [0.2] * 5, [0.7, 0.1, 0.1, 0.1], np.geomspace(1, 1e6, 300)],
    ids=lambda law: str(len(law)),
)
def test_alias_tables_draw_their_law(x64, law):
    law = np.asarray(law) / np.sum(law)
    table = sampling.alias_table(jnp.asarray(law))
    np.testing.assert_allclose(sampling.law_of(table), law, rtol=0, atol=1e-15)
    assert (np.asarray(table.keep)[law == 0] == 0).all()
    assert (law[np.asarray(table.alias)[np.asarray(table.keep) < 1 - 1e-12]] > 0).all()


def test_alias_table_in_single_precision_keeps_small_probabilities():
    """Within 1e-5 of each of 20,000 probabilities, which multiples of 2**-24 would miss by percents."""
    law = np.random.default_rng(0).dirichlet(np.full(20_000, 20.0)).astype(np.float32)
    np.testing.assert_allclose(sampling.law_of(sampling.alias_table(jnp.asarray(law))), law, rtol=1e-5)


def test_alias_table_under_jit_and_its_draws():
    law = jnp.array([0.5, 0.0, 0.3, 0.2])
    table = jax.jit(sampling.alias_table)(law)
    draws = np.asarray(sampling.draw(table, prng.root_key(0), (20_000,)))
    assert (abs(np.bincount(draws, minlength=4) - 20_000 * law) <= 5 * np.sqrt(20_000 * law * (1 - law))).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: finite_sums.least_squares(jnp.ones((3, 2)), jnp.ones(2)),
            r"targets must have shape \(3\), got \(2,\)",
        ),
        (lambda: finite_sums.least_squares(jnp.ones((0, 2)), jnp.ones(0)), r"features must have a row and a column"),
        (lambda: finite_sums.least_squares(jnp.full((2, 1), jnp.nan), jnp.ones(2)), r"features must be finite"),
        (lambda: finite_sums.least_squares(jnp.ones((2, 1)), jnp.array([1, jnp.inf])), r"targets must be finite"),
        (lambda: finite_sums.least_squares(jnp.zeros((2, 1)), jnp.ones(2)), r"mean squared row norm must be positive"),
        (lambda: finite_sums.least_squares(jnp.ones((2, 1)), jnp.ones(2), law="row"), r"law must be one of"),
        (lambda: finite_sums.logistic(jnp.ones((2, 1)), jnp.array([0.0, 1.0])), r"labels must be -1 or 1"),
        (lambda: finite_sums.feasibility(jnp.array([[1.0], [0.0]]), jnp.ones(2)), r"every normal must be positive"),
        (lambda: sampling.alias_table(jnp.array([0.5, 0.4])), r"law must sum to 1"),
        (lambda: sampling.alias_table(jnp.array([1.5, -0.5])), r"law must lie in \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
