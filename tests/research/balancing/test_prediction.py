"""Forecasts against closed forms and against runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import online, prediction, regret_bounds
from research.balancing.bias_update import Rule
from research.balancing.gumbel_router import GumbelRouter
from research.balancing.score_models import location_family
from research.core import prng

SEEDS, STEPS, TOKENS = 256, 512, 128
MODEL = np.linspace(0.3, -0.3, 4)


@pytest.mark.parametrize(
    ("rule", "step_size", "schedule"),
    [("prop", 4.0, "inv_offset"), pytest.param("sign", 0.01, "const", marks=pytest.mark.slow)],
)
def test_a_forecast_is_what_happens(rule, step_size, schedule):
    rule = Rule(rule, schedule, step_size=step_size, offset=8.0)
    problem = online.problem_of(GumbelRouter(jnp.asarray(MODEL, jnp.float32)))
    params = online.Params(STEPS, num_tokens=TOKENS, rule=rule)
    keys = prng.replicate_keys(prng.root_key(0), SEEDS)
    trace = jax.jit(jax.vmap(lambda key: online.run(problem, params, key).trace))(keys)
    regret = np.asarray(trace.regret)[:, -1]
    found = jax.jit(
        lambda start: prediction.forecast(prediction.of_model(problem.model), rule, TOKENS, 1, start, STEPS)
    )(-problem.minimiser)
    error = regret.std(ddof=1) / SEEDS**0.5
    assert 5 * error < 0.1 * regret.mean()
    assert float(found.regret[-1]) == pytest.approx(regret.mean(), rel=0.15)
    late = np.asarray(trace.max_violation)[:, STEPS // 2 :].mean()
    assert float(found.max_violation[STEPS // 2 :].mean()) == pytest.approx(late, rel=0.1)
    assert float(found.max_violation[-1]) >= regret_bounds.noise_floor(TOKENS, 4, 1)


def test_long_forecasts_have_the_slopes_of_the_bounds(x64):
    constants = prediction.of_model(GumbelRouter(jnp.zeros(8)))
    run = jax.jit(prediction.forecast, static_argnums=(2, 3, 5))
    zero = jnp.zeros(8)
    harmonic = run(constants, Rule("prop", "inv", step_size=8.0), 256, 1, zero, 4096).regret
    slope = float((harmonic[-1] - harmonic[511]) / np.log(8))
    assert slope == pytest.approx(regret_bounds.location_family_slope(8, 1, 1 / 8, 256), rel=0.01)
    constant = run(constants, Rule("prop", "const", step_size=0.1), 256, 1, zero, 4096).excess[-1]
    assert float(constant) == pytest.approx(regret_bounds.constant_step_regret(0.1, 8, 1, 256), rel=0.01)
    sign = run(constants, Rule("sign", "const", step_size=1e-4), 256, 1, zero, 16384).excess[-1]
    assert float(sign) == pytest.approx(regret_bounds.sign_step_regret(1e-4, 8, 1, 256), rel=0.01)


def test_the_best_harmonic_step_is_one_over_mu(x64):
    constants = prediction.of_model(GumbelRouter(jnp.zeros(8)))
    candidates = jnp.array([2.0, 4.0, 6.0, 8.0, 10.0, 16.0, 32.0])
    best, regrets = jax.jit(
        lambda start: prediction.best_step_size(constants, Rule("prop", "inv"), 256, 1, start, 4096, candidates)
    )(jnp.zeros(8))
    assert regrets.shape == (7,)
    # From p* itself smaller steps move less noise in at the start; from elsewhere they are too slow.
    away, _ = jax.jit(
        lambda start: prediction.best_step_size(constants, Rule("prop", "inv"), 256, 1, start, 4096, candidates)
    )(jnp.linspace(-1, 1, 8))
    assert float(best) <= 8 == float(away)


def test_constants_are_measured_on_scores(x64):
    model = location_family("normal", jnp.array([0.5, 0.2, 0.0, -0.2, -0.5]))
    tokens = 1 << 17
    scores = jnp.asarray(np.asarray(model.location) + np.random.default_rng(0).normal(size=(tokens, 5)))
    bias = model.location.mean() - model.location
    valid = np.arange(tokens) % 8 > 0
    measured = jax.jit(lambda s, valid: prediction.of_scores(s, bias, 2, 0.05, valid=valid))(scores, valid)
    exact = jax.jit(lambda p: prediction.of_model(model, 2))(bias)
    counted = tokens * 7 / 8
    weight = float(-exact.hessian[0, 1])
    # Near ties are Poisson, of both orders of the pair; plus a bias of first order in w.
    error = 5.5 * np.sqrt(weight / (2 * counted * 0.05)) + weight * 0.05
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(np.asarray(measured.hessian)[off], np.asarray(exact.hessian)[off], atol=error)
    assert error < 0.25 * weight
    np.testing.assert_allclose(measured.covariance, exact.covariance, atol=5.5 * 0.5 / np.sqrt(counted))


def test_rules_without_a_forecast_are_refused():
    constants = prediction.of_model(GumbelRouter(jnp.zeros(4)))
    with pytest.raises(ValueError, match=r"rule must be one of 'sign', 'prop', 'prop_raw', 'rel', got 'prop_l1'\."):
        prediction.forecast(constants, Rule("prop_l1"), 64, 1, jnp.zeros(4), 8)
