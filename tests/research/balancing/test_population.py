"""The population model: worked values, derivatives, draws; and strong convexity on 64 random instances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import population, regret_bounds
from research.balancing.gumbel_router import GumbelRouter, strong_convexity_bound
from research.balancing.score_models import Independent, location_family

INSTANCES, STEP = 64, 1e-5


@functools.partial(jax.jit, static_argnames="top_k")
def everything(model, biases, top_k):
    """f, pi, H and S at many biases, in one program."""
    parts = (
        population.objective,
        population.selection_probability,
        population.hessian,
        population.selection_covariance,
    )
    return jax.vmap(lambda p: tuple(part(model, p, top_k, num_nodes=161) for part in parts))(biases)


def at_one(model, bias, top_k):
    """The same at one bias, by the program for three times as many as there are instances."""
    biases = jnp.zeros((3 * INSTANCES, model.num_experts)).at[0].set(bias)
    return tuple(np.asarray(a)[0] for a in everything(model, biases, top_k))


def test_worked_values(x64):
    uniform = location_family("uniform", jnp.zeros(4))
    value, probability, hessian, _ = everything(uniform, jnp.zeros((1, 4)), 2)
    assert float(value[0]) == pytest.approx(1.4, abs=1e-12)
    np.testing.assert_allclose(probability, 0.5, atol=1e-12)
    assert float(regret_bounds.strong_convexity(hessian[0])) == pytest.approx(4 / 3, abs=1e-12)
    assert regret_bounds.modulus_uniform(4) == 4 / 3
    normal = location_family("normal", jnp.array([0.3, 0.0, -0.3]))
    value, probability, hessian, covariance = everything(normal, jnp.array([[0, 0, 0], [-0.3, 0, 0.3]]), 1)
    np.testing.assert_allclose(probability[0], [0.463554, 0.321203, 0.215243], atol=5.1e-7)
    np.testing.assert_allclose(value, [0.883946, 0.846284], atol=5.1e-7)
    assert float(regret_bounds.strong_convexity(hessian[1])) == pytest.approx(0.423142, abs=5.1e-7)
    modulus = 0.42314219
    slope = regret_bounds.inverse_step_slope(hessian[1], covariance[1], 100, 1 / modulus)
    assert float(slope) == pytest.approx(0.00787757, abs=5e-9)
    assert regret_bounds.location_family_slope(3, 1, modulus, 100) == pytest.approx(0.00787757, abs=5e-9)
    assert float(regret_bounds.newton_slope(hessian[1], covariance[1], 100)) == pytest.approx(0.00787757, abs=5e-9)
    assert bool(jnp.isnan(regret_bounds.inverse_step_slope(hessian[1], covariance[1], 100, 0.4 / modulus)))


def test_gumbel_in_closed_form(x64):
    router = GumbelRouter(jnp.array([1.0, 0.0, 0.0, -0.5]))
    assert float(router.objective(jnp.zeros(4)) - router.minimum().value) == pytest.approx(0.1610831364, abs=5e-11)
    assert float(router.excess(jnp.zeros(4))) == pytest.approx(0.1610831364, abs=5e-11)
    biases = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
    found = everything(location_family("gumbel", router.location), biases, 1)
    expected = jax.jit(
        jax.vmap(lambda p: (router.objective(p), router.selection_probability(p), router.hessian(p), router.hessian(p)))
    )(biases)
    for by_quadrature, exact in zip(found, expected, strict=True):
        np.testing.assert_allclose(by_quadrature, exact, atol=1e-9)
    drawn = jax.jit(jax.vmap(lambda key: router.sample_load(key, jnp.zeros(4), 1024)))(
        jax.random.split(jax.random.key(0), 64)
    )
    np.testing.assert_array_equal(drawn.sum(axis=1), np.full(64, 1024))
    probability = np.asarray(router.selection_probability(jnp.zeros(4)))
    deviation = (drawn.sum(axis=0) - 65536 * probability) / np.sqrt(65536 * probability * (1 - probability))
    assert np.abs(deviation).max() < 5.2  # false alarm below 1e-6


UNEVEN = {
    "normal": ([0.3, -0.1, 0.2, 0.0, 0.4], [1.0, 0.5, 0.8, 1.2, 0.7]),
    "uniform": ([0.1, -0.1, 0.2, 0.0, 0.15], [1.0, 0.5, 0.8, 1.2, 0.7]),
}


@pytest.mark.parametrize("kind", UNEVEN)
def test_derivatives_and_moments_belong_together(kind, x64):
    model = Independent(*(jnp.array(a) for a in UNEVEN[kind]), kind)
    rng = np.random.default_rng(0)
    centres = 0.1 * rng.normal(size=(INSTANCES, 5))
    direction = rng.normal(size=(INSTANCES, 5))
    around = np.concatenate([centres, centres + STEP * direction, centres - STEP * direction])
    value, probability, hessian, covariance = (np.asarray(a) for a in everything(model, jnp.asarray(around), 2))
    middle, ahead, behind = (slice(i * INSTANCES, (i + 1) * INSTANCES) for i in range(3))
    np.testing.assert_allclose(probability.sum(axis=1), 2, atol=1e-9)
    slope = ((probability[middle] - 2 / 5) * direction).sum(axis=1)
    np.testing.assert_allclose((value[ahead] - value[behind]) / (2 * STEP), slope, atol=1e-8)
    curvature = np.einsum("nij,nj->ni", hessian[middle], direction)
    # Densities of uniform scores jump: pi has corners there, and a difference sees both sides.
    loose = 1e-7 if kind == "normal" else 1e-4
    np.testing.assert_allclose((probability[ahead] - probability[behind]) / (2 * STEP), curvature, atol=loose)
    np.testing.assert_allclose(covariance.sum(axis=2), 0, atol=1e-9)  # K experts of every token
    spread = np.diagonal(covariance, axis1=1, axis2=2)
    np.testing.assert_allclose(spread, probability * (1 - probability), atol=1e-12)
    assert (np.linalg.eigvalsh(hessian[middle])[:, 1] > 0).all()


def test_draws_agree_and_margins_measure_the_trace(x64):
    model = Independent(*(jnp.array(a) for a in UNEVEN["normal"]), "normal")
    _, probability, hessian, covariance = at_one(model, 0.0, 2)
    tokens = 1 << 19
    drawn = np.asarray(model.location) + np.asarray(model.scale) * np.random.default_rng(1).normal(size=(tokens, 5))
    ordered = np.sort(drawn, axis=1)
    chosen = (drawn >= ordered[:, 3:4]).astype(float)
    np.testing.assert_allclose(chosen.mean(axis=0), probability, atol=5.2 * np.sqrt(0.25 / tokens))
    np.testing.assert_allclose(np.cov(chosen.T), covariance, atol=5.2 * np.sqrt(0.25 / tokens))
    density, width = np.trace(hessian), 0.08
    error = 5.2 * np.sqrt(2.5 * density / (tokens * width)) + density * width**2
    measured = float(regret_bounds.margin_density(jnp.asarray(ordered[:, 3] - ordered[:, 2]), width))
    assert abs(measured - density) < error
    assert error < 0.1 * density
    modulus = float(regret_bounds.margin_modulus(jnp.asarray(ordered[:, 3] - ordered[:, 2]), 5, width))
    assert modulus == pytest.approx(measured / 4)


def test_strong_convexity_of_gumbel_scores_on_64_instances(x64):
    rng = np.random.default_rng(2)
    offsets = jnp.asarray(rng.normal(size=(INSTANCES, 6)) * rng.uniform(0, 2, (INSTANCES, 1)))
    zero = jnp.zeros(6)
    modulus = jax.jit(jax.vmap(lambda a: regret_bounds.strong_convexity(GumbelRouter(a).hessian(zero))))(offsets)
    promised = strong_convexity_bound(offsets.max(axis=1) - offsets.min(axis=1), 6)
    assert (np.asarray(modulus) >= np.asarray(promised) * (1 - 1e-12)).all()
    balanced = GumbelRouter(offsets[0]).minimum()
    assert float(regret_bounds.strong_convexity(balanced.hessian)) == pytest.approx(regret_bounds.modulus_gumbel(6))


def test_minima_of_uneven_experts(x64):
    model = Independent(*(jnp.array(a) for a in UNEVEN["uniform"]), "uniform")
    found = population.minimum(model, 2)
    assert bool(found.converged)
    assert int(found.steps) < 20
    _, probability, hessian, _ = at_one(model, found.bias, 2)
    np.testing.assert_allclose(probability, 2 / 5, atol=1e-11)
    np.testing.assert_allclose(hessian, found.hessian, atol=1e-12)
    weights = -hessian[~np.eye(5, dtype=bool)]
    assert weights.min() >= 0


def test_location_families_have_condition_one(x64):
    # H(p*) = w (E I - 1 1'): the biases cancel the locations, whatever the kind and K.
    model = location_family("normal", jnp.array([0.5, -0.2, 0.1, 0.0, -0.4]))
    _, probability, hessian, covariance = at_one(model, model.location.mean() - model.location, 2)
    np.testing.assert_allclose(probability, 2 / 5, atol=1e-12)
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(values[1:], values[1], rtol=1e-10)
    modulus = float(values[1])
    slope = float(regret_bounds.inverse_step_slope(hessian, covariance, 64, 2 / modulus))
    assert slope == pytest.approx(regret_bounds.location_family_slope(5, 2, modulus, 64, scale=2.0), rel=1e-9)
