"""Regret of fresh scores against its leading orders, with 256 seeds; noise that no rule can beat.

Every comparison's margin is at least five standard errors of its mean: false alarms below 1e-6.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import metrics, online, population, regret_bounds
from research.balancing.bias_update import Rule
from research.balancing.gumbel_router import GumbelRouter, strong_convexity_bound
from research.balancing.score_models import Clustered, Independent, location_family
from research.core import prng, stats

SEEDS = 256


def traces(problem, params, seed=0, at_balance=True, seeds=SEEDS):
    """Trace of all seeds, from p* or from zero, as NumPy: leading axes seeds and steps."""
    start = problem.minimiser if at_balance else jnp.zeros_like(problem.minimiser)

    @jax.jit
    def run(keys):
        return jax.vmap(
            lambda key: online.run(problem, params, state=online.init(problem, params, key, bias=start)).trace
        )(keys)

    return jax.tree.map(np.asarray, run(prng.replicate_keys(prng.root_key(seed), seeds)))


def gumbel(num_experts):
    return online.problem_of(GumbelRouter(jnp.linspace(0.5, -0.5, num_experts)))


@functools.cache
def harmonic():
    """E = 8, T = 128, steps of 1 / (mu n) with mu = 1 / E."""
    rule = Rule("prop", "inv_offset", step_size=8.0, offset=4.0)
    return traces(gumbel(8), online.Params(512, num_tokens=128, rule=rule))


def log_slope(regret, first, offset):
    """Per seed, (Regret_N - Regret_first) / ln(N / first), with both shifted by the schedule's offset."""
    last = regret.shape[1]
    return (regret[:, -1] - regret[:, first - 1]) / np.log((last + offset) / (first + offset))


def compare(values, predicted, tolerance):
    """The mean over seeds is within the tolerance, which is at least five standard errors."""
    interval = stats.t_interval(values)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert 5 * error < tolerance * predicted
    assert abs(float(interval.mean) - predicted) <= tolerance * predicted


def test_regret_of_harmonic_steps_is_logarithmic_with_the_predicted_slope():
    predicted = regret_bounds.location_family_slope(8, 1, regret_bounds.modulus_gumbel(8), 128)
    assert predicted == pytest.approx(0.02734, abs=5e-6)
    compare(log_slope(harmonic().regret, 64, 4), predicted, 0.15)


def test_regret_is_below_its_bound():
    # Region of the bound: spread of a + p below B, on which f is exp(-B) / E strongly convex.
    problem = gumbel(8)
    spread, offset = 2.5, 40.0
    modulus = float(strong_convexity_bound(spread, 8))
    rule = Rule("prop", "inv_offset", step_size=1 / modulus, offset=offset)
    trace = traces(problem, online.Params(256, num_tokens=32, rule=rule), at_balance=False)
    centred = trace.bias + np.asarray(problem.model.location)
    assert (centred.max(axis=-1) - centred.min(axis=-1)).max() < spread
    bound = regret_bounds.logarithmic_regret(
        256,
        modulus,
        regret_bounds.gradient_bound(8, 1),
        offset=offset,
        distance=float(jnp.linalg.norm(problem.minimiser)),
    )
    assert trace.regret[:, -1].mean() < bound
    # With what is known of the noise, G^2 is |gradient|^2 + K (1 - K / E) / T, and the bound comes near.
    share = 1 / 8 + np.square(np.asarray(problem.model.selection_probability(jnp.zeros(8))) - 1 / 8).sum() * 32
    tight = regret_bounds.logarithmic_regret(
        256,
        modulus,
        regret_bounds.gradient_bound(8, 1) / 32 * (1 + share),
        offset=offset,
        distance=float(jnp.linalg.norm(problem.minimiser)),
    )
    assert 0.05 * tight < trace.regret[:, -1].mean() < tight


@pytest.mark.parametrize(("rule", "step_size"), [("prop", 0.4), ("sign", 0.004)])
def test_constant_steps_pay_by_the_step(rule, step_size):
    params = online.Params(512, num_tokens=64, rule=Rule(rule, "const", step_size=step_size))
    trace = traces(gumbel(4), params)
    predict = regret_bounds.constant_step_regret if rule == "prop" else regret_bounds.sign_step_regret
    compare((trace.regret[:, -1] - trace.regret[:, 127]) / 384, predict(step_size, 4, 1, 64), 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["prop", "sign"])
def test_inverse_root_steps_pay_by_the_root(rule):
    step_size = {"prop": 1.0, "sign": 0.03}[rule]
    trace = traces(gumbel(4), online.Params(4000, num_tokens=64, rule=Rule(rule, "inv_sqrt", step_size=step_size)))
    if rule == "prop":
        at = regret_bounds.inverse_root_regret(step_size, 4, 1, 64, np.array([1000, 4000]))
        predicted = float(at[1] - at[0])
    else:
        predicted = 2 * (4000**0.5 - 1000**0.5) * regret_bounds.sign_step_regret(step_size, 4, 1, 64)
    compare(trace.regret[:, -1] - trace.regret[:, 999], predicted, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_experts", "tokens", "scale"), [(4, 64, 1.0), (8, 256, 1.0), (16, 512, 1.0), (8, 256, 2.0)]
)
def test_slopes_of_gumbel_routers(num_experts, tokens, scale):
    rule = Rule("prop", "inv_offset", step_size=scale * num_experts, offset=16.0)
    seeds = 1024 if num_experts < 8 else SEEDS
    trace = traces(gumbel(num_experts), online.Params(4096, num_tokens=tokens, rule=rule), seeds=seeds)
    predicted = regret_bounds.location_family_slope(num_experts, 1, 1 / num_experts, tokens, scale)
    compare(log_slope(trace.regret, 512, 16), predicted, 0.15)


@pytest.mark.slow
def test_slope_of_uneven_experts():
    # No location family, K = 2: the general formula, with the excess to second order. Constants in float64.
    with jax.enable_x64(True):
        model = Independent(jnp.array([0.3, -0.1, 0.2, 0.0]), jnp.array([1.0, 0.5, 0.8, 1.2]), "normal")
        problem = online.problem_of(model, 2)
        covariance = population.selection_covariance(model, problem.minimiser, 2)
        scale = 1.0 / float(regret_bounds.strong_convexity(problem.hessian))
        predicted = float(regret_bounds.inverse_step_slope(problem.hessian, covariance, 64, scale))
        problem = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), problem)
    rule = Rule("prop", "inv_offset", step_size=scale, offset=16.0)
    params = online.Params(1024, num_tokens=64, rule=rule, excess="quadratic")
    compare(log_slope(traces(problem, params, seeds=768).regret, 128, 16), predicted, 0.15)


@pytest.mark.slow
def test_slope_of_uniform_scores():
    problem = online.problem_of(location_family("uniform", jnp.linspace(-0.1, 0.1, 6)), 2)
    modulus = regret_bounds.modulus_uniform(6)
    rule = Rule("prop", "inv_offset", step_size=1 / modulus, offset=16.0)
    trace = traces(problem, online.Params(1024, num_tokens=64, rule=rule, excess="quadratic"))
    predicted = regret_bounds.location_family_slope(6, 2, modulus, 64)
    assert predicted == pytest.approx(0.00868, abs=5e-6)
    compare(log_slope(trace.regret, 128, 16), predicted, 0.15)


def test_excess_to_second_order_is_the_leading_one(x64):
    problem = gumbel(4)
    away = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)))
    away = away - away.mean(axis=1, keepdims=True)

    @jax.jit
    def both(length):
        biases = problem.minimiser[None] + length * away
        return tuple(jax.vmap(lambda p, kind=kind: online.excess(problem, p, kind))(biases) for kind in online.EXCESSES)

    for length in (1e-2, 1e-3):
        exact, quadratic, none = both(length)
        np.testing.assert_allclose(exact, quadratic, rtol=2 * length)
        assert not np.asarray(none).any()


def test_settled_batches_are_as_uneven_as_noise_and_not_less():
    violation = harmonic().max_violation[:, 256:].mean(axis=1)
    assert regret_bounds.noise_floor(256, 8, 1) == pytest.approx(0.252, rel=2e-3)
    floor = regret_bounds.noise_floor(128, 8, 1)
    mean, error = violation.mean(), violation.std(ddof=1) / 16
    assert error < 0.01 * floor
    assert 0.98 * floor < mean < 1.3 * floor
    for num_experts, expected in ((8, 1.424), (16, 1.766), (64, 2.344)):
        assert regret_bounds.expected_maximum(num_experts) == pytest.approx(expected, abs=1e-3)


def test_batches_of_correlated_tokens_are_as_uneven_as_fewer_independent_ones():
    base = location_family("normal", jnp.zeros(8))
    keys = jax.random.split(prng.root_key(3), SEEDS)

    def loads(model):
        return jax.jit(jax.vmap(lambda key: model.sample_load(key, jnp.zeros(8), 512, 2)))(keys)

    independent = regret_bounds.effective_tokens(loads(base), 2)
    assert float(independent) == pytest.approx(512, rel=0.2)
    correlated = loads(Clustered(base, 1.0, size=64))
    fewer = regret_bounds.effective_tokens(correlated, 2)
    assert float(fewer) < 100
    violation = float(metrics.max_violation(correlated).mean())
    assert 1 / 1.3 < violation / regret_bounds.noise_floor(float(fewer), 8, 2) < 1.3
    assert violation > 2 * regret_bounds.noise_floor(512, 8, 2)
