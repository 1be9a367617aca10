"""Decisions, credit, design, risk: exact values, and problems that have them, by quadrature over their own variates."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from research.core import prng
from research.mlmc import (
    bounds,
    credit,
    decisions,
    design,
    health,
    level_samples,
    options,
    oracles,
    quadrature,
    read,
    regression,
    risk,
)  # fmt: skip
from research.mlmc.bounds import HeavyTailWarning
from research.mlmc.levels import Geometric
from research.mlmc.problems import check, direct_delta
from research.mlmc.words import LEAF, NODE

#: A standard normal exceeds this with probability 5e-8: at most 1e-6 over the comparisons of this file.
SIGMAS = 5.33


def gaussian_mean(function, reach=12):
    """Mean of a function of one standard normal, by adaptive quadrature."""
    density = lambda x: math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    return integrate.quad(lambda x: function(x) * density(x), -reach, reach, limit=400, points=np.linspace(-4, 4, 9))[0]


# ---- Decisions -------------------------------------------------------------------------------------------------------


def test_stated_values_of_information():
    assert decisions.partial_information(0, 1) == pytest.approx(0.3989422804, abs=1e-10)
    assert decisions.partial_information(0.5, 2) == pytest.approx(0.5726893965, abs=1e-10)
    gap = decisions.perfect_information(0, 1, 1) - decisions.partial_information(0, 1)
    assert gap == pytest.approx(0.1652473, abs=1e-7)
    assert decisions.partial_information(0.5, 0) == 0


@pytest.mark.parametrize("options_", [2, 3, 5, 9])
def test_the_expected_maximum_of_lines(options_):
    rng = np.random.default_rng(options_)
    a, b = rng.normal(size=options_), rng.normal(size=options_)
    found = decisions.expected_maximum(a, b)
    assert found == pytest.approx(gaussian_mean(lambda x: np.max(a + b * x)), abs=1e-9)
    assert found >= a.max()


def test_lines_that_are_nowhere_best_and_equal_slopes():
    assert decisions.expected_maximum([0, 0, 1, -1], [1, 1, 1, 1]) == 1
    assert decisions.expected_maximum([0, -5, 0], [-1, 0, 1]) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-12)
    assert decisions.expected_maximum([0.3, 0.3], [0, 0]) == 0.3


def test_a_linear_decision_of_four_options(x64):
    """Inner means are linear in y; corners of the outer mean cost less than a spacing**2."""
    problem = decisions.linear_decision(
        [0, 0.1, -0.2, 0.3], [0, 1, 2, -0.5], [[0, 0], [1, 0], [0.5, 2], [0, 1]], jnp.float64
    )
    assert check(problem, jnp.float64) == ((), (4,))
    found = quadrature.nested_value(problem, [quadrature.normal_rule([1601]), quadrature.point(2)])
    assert float(found) == pytest.approx(problem.exact, abs=1e-4)
    assert problem.best == 3


def test_stated_values_of_the_health_decision():
    np.testing.assert_allclose(health.mean_benefits(), (5057.0, 5584.8), rtol=1e-12)
    assert health.information() == pytest.approx(247.912, abs=5e-4)


def test_the_health_decision_by_quadrature(x64):
    """Benefits are linear in every one of the inner normals, so that their mean is that of the middle."""
    problem = health.health_decision(dtype=jnp.float64)
    found = quadrature.nested_value(
        problem, [quadrature.normal_rule([201, 201]), quadrature.point(17)], batch_size=4096
    )
    assert float(found) == pytest.approx(problem.exact, abs=2e-3)


def test_parameters_of_the_health_decision_have_the_stated_correlations(x64):
    problem = health.health_decision(dtype=jnp.float64)

    def standardized(u):
        known, _, rest = problem.transition(1, problem.init(u[:2]), u[2:])
        return jnp.concatenate([known, rest])

    root = jax.jit(jax.jacobian(standardized))(jnp.zeros(19))
    wanted = np.eye(19)
    wanted[:4, :4] += 0.6 * (1 - np.eye(4))
    np.testing.assert_allclose(root @ root.T, wanted, atol=1e-12)


def test_regression_finds_the_value_of_information():
    """A cubic explains the quadratic benefits: what decisions gain on fresh draws is nearly all there is."""
    problem = health.health_decision()
    sizes = {"fit_paths": 20_000, "fresh_paths": 100_000}
    bounds = jax.jit(lambda key: regression.decide(problem, key, **sizes))(prng.root_key(1))
    value, error = float(bounds.lower.value), float(bounds.lower.error)
    assert problem.exact * 0.98 - SIGMAS * error <= value <= problem.exact + SIGMAS * error
    assert abs(float(bounds.fitted) - problem.exact) < 0.2 * problem.exact


# ---- Credit ----------------------------------------------------------------------------------------------------------


def test_stated_exposures_and_adjustment():
    times = (0.5, 1.0, 1.5, 2.0)
    found = credit.exposures(times, 100, 100, 0.03, 0.25)
    np.testing.assert_allclose(found, (10.138866, 12.845046, 14.949244, 16.728425), atol=5e-7)
    assert credit.forward_adjustment().exact == pytest.approx(0.6278629508, abs=1e-10)
    assert credit.default_probabilities(times, 0.04).sum() == pytest.approx(1 - math.exp(-0.08), rel=1e-13)


def test_the_adjustment_by_quadrature(x64):
    """One point in the middle of every default date's share of the uniform variate; the corner of the exposure costs
    less than five spacings**2."""
    problem = credit.forward_adjustment(times=(0.3, 1.0, 1.1, 2.5), recovery=0.25, dtype=jnp.float64)
    ends = np.concatenate([[0], problem.cumulative])
    moves = quadrature.normal_rule([801])
    dates = np.repeat((ends[1:] + ends[:-1]) / 2, 801)
    points = np.stack([dates, np.tile(moves.points[:, 0], 4)], axis=1)
    outer = quadrature.Rule(points, np.outer(np.diff(ends), moves.weights).ravel())
    found = float(quadrature.nested_value(problem, [outer, quadrature.normal_rule([101])]))
    assert found == pytest.approx(problem.exact, abs=5 * 0.02**2)


# ---- Design ----------------------------------------------------------------------------------------------------------


def test_stated_information_gain():
    assert design.linear_experiment(1.0, 1.0, 0.5).exact == pytest.approx(0.8047189562, abs=1e-10)
    assert design.information_gain(np.eye(3), [1, 2, 3], 1.0) == pytest.approx(math.log(2 * 5 * 10) / 2)


@pytest.mark.parametrize("proposal", design.PROPOSALS)
@pytest.mark.filterwarnings("ignore:inner samples from the prior")
def test_the_information_gain_by_quadrature(x64, proposal):
    problem = design.linear_experiment(1.3, 0.8, 0.4, proposal=proposal, dtype=jnp.float64)
    rules = [quadrature.normal_rule([41, 41]), quadrature.normal_rule([201])]
    assert float(quadrature.nested_value(problem, rules)) == pytest.approx(problem.exact, abs=1e-10)


def test_a_proposal_of_two_parameters_and_outcomes(x64):
    problem = design.linear_experiment([[1, 0.5], [0.2, -1]], [1, 2], 0.5, dtype=jnp.float64)
    assert problem.num_variates == (4, 2)
    rules = [quadrature.normal_rule([9] * 4, reach=5), quadrature.normal_rule([19, 19], reach=6)]
    # The log-likelihoods are quadratic, for which nine points are exact but for what lies beyond five deviations.
    assert float(quadrature.nested_value(problem, rules, batch_size=1024)) == pytest.approx(problem.exact, abs=1e-3)


def test_with_the_posterior_itself_nothing_is_random(x64):
    problem = design.linear_experiment([[1.0, 0.5]], [1.0, 2.0], 0.3, width=1.0, dtype=jnp.float64)
    state = problem.init(jnp.array([0.3, -1.0, 0.7]))
    values = jax.jit(jax.vmap(lambda u: problem.leaf(problem.transition(1, state, u))))(
        jnp.linspace(-3, 3, 20).reshape(10, 2)
    )
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


def test_the_difference_of_log_means(x64):
    problem = design.linear_experiment(1.0, dtype=jnp.float64)
    state = problem.init(jnp.array([0.2, 0.4]))
    a, b = jnp.linspace(-800, 900, 41), jnp.linspace(3, -2, 41)
    found = jax.jit(jax.vmap(lambda a, b: problem.delta(0, state, a, b)))(a, b)
    np.testing.assert_allclose(found, -(np.logaddexp(a, b) - math.log(2)) + (a + b) / 2, atol=1e-12)
    close = float(problem.delta(0, state, jnp.float64(1e-8), jnp.float64(-1e-8)))
    assert close == pytest.approx(-5e-17, rel=1e-6)


def test_a_prior_proposal_warns_with_the_share_of_samples_that_count():
    share = design.inner_share(1.0, 1.0, 0.1)
    weights = lambda power: gaussian_mean(lambda x: math.exp(-power * 100 * x**2 / 2))  # noqa: E731
    assert share == pytest.approx(weights(1) ** 2 / weights(2), rel=1e-8)
    with pytest.warns(HeavyTailWarning, match=r"at most 14.0% of them"):
        design.linear_experiment(1.0, 1.0, 0.1, proposal="prior")


# ---- Risk ------------------------------------------------------------------------------------------------------------


def test_the_probability_of_loss_by_quadrature(x64):
    """A jump is off by at most one of 2,000 equally likely outer points; the strangle loses on two sides."""
    problem = risk.loss_probability(dtype=jnp.float64)
    count = 2000
    quantiles = jax.scipy.special.ndtri((jnp.arange(count) + 0.5) / count)
    outer = quadrature.Rule(np.asarray(quantiles)[:, None], np.full(count, 1 / count))
    found = float(quadrature.nested_value(problem, [outer, quadrature.normal_rule([401])]))
    assert found == pytest.approx(problem.exact, abs=2 / count)
    assert 0.05 < problem.exact < 0.07
    assert problem.smoothness == ("discontinuous",)


def test_the_probability_of_loss_of_one_put_is_that_of_low_prices():
    found = risk.exceedance(lambda z: -np.asarray(z, float), 1.5)
    assert found == pytest.approx(0.06680720126885807, rel=1e-10)
    assert risk.exceedance(lambda z: np.zeros(np.shape(z)), 1.5) == 0


def test_calls_and_puts_meet_in_parity():
    price = np.array([80.0, 100.0, 125.0])
    call, put = (options.black_scholes(price, 95.0, 0.03, 0.3, 0.7, call=call) for call in (True, False))
    np.testing.assert_allclose(call - put, price - 95 * math.exp(-0.021), rtol=1e-13)


# ---- All -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [decisions.linear_decision([0, 0.1, 0.3], [0, 1, 2], [0, 1, 0.5]), credit.forward_adjustment()],
    ids=["decision", "credit"],
)
def test_differences_are_those_of_the_links(problem):
    state = problem.init(jnp.full(problem.num_variates[0], 0.3))
    shape = check(problem)[1]
    a, b = np.random.default_rng(0).normal(size=(2, 50, *shape)).astype(np.float32)
    found = jax.jit(jax.vmap(lambda a, b: problem.delta(0, state, a, b)))(a, b)
    plain = jax.jit(jax.vmap(lambda a, b: direct_delta(lambda z: problem.link(0, state, z), a, b)))(a, b)
    np.testing.assert_allclose(found, plain, atol=1e-6)
    assert np.any(plain < -0.01)


def by_hand(problem, law, base, seed, numbers):
    """Values of READ's replicates, D = 1, in double precision: words by the oracle's generator, halves by slices."""
    keys = [oracles.threefry(seed, (number, 0)) for number in numbers]
    sizes = [1 << (base + oracles.level(law, key)) for key in keys]

    def normals(count, key, counter):
        words = [word for q in range(-(-count // 2)) for word in oracles.threefry(key, counter(q))]
        return [oracles._normal(word) for word in words[:count]]

    outer = [normals(problem.num_variates[0], key, lambda q: (q, NODE)) for key in keys]
    inner = [
        normals(problem.num_variates[1], key, lambda q, c=c: (c, LEAF + q))
        for key, size in zip(keys, sizes, strict=True)
        for c in range(size)
    ]
    states = jax.jit(jax.vmap(problem.init))(jnp.array(outer))
    parents = np.repeat(np.arange(len(sizes)), sizes)
    theirs = jax.tree.map(lambda leaf: leaf[parents], states)
    values = jax.jit(jax.vmap(lambda state, u: problem.leaf(problem.transition(1, state, u))))(theirs, jnp.array(inner))
    families = np.split(np.asarray(values), np.cumsum(sizes)[:-1])

    def mean(x):
        return special.logsumexp(x) - math.log(len(x)) if problem.inner == "logmeanexp" else x.mean(axis=0)

    halves = np.array([[mean(x), mean(x[: (len(x) + 1) // 2]), mean(x[len(x) // 2 :])] for x in families])
    link = jax.jit(jax.vmap(lambda state, z: problem.link(0, state, z)))
    whole, left, right = (np.asarray(link(states, jnp.asarray(halves[:, k]))) for k in range(3))
    levels = [size.bit_length() - 1 - base for size in sizes]
    return np.array([
        (w if n == 0 else w - (a + b) / 2) / law.pmf(n) for n, w, a, b in zip(levels, whole, left, right, strict=True)
    ])  # fmt: skip


@pytest.mark.filterwarnings("ignore::research.mlmc.bounds.HeavyTailWarning")
@pytest.mark.parametrize("kind", ["decision", "gain"])
def test_read_on_vectors_and_on_logarithms(x64, kind):
    """Replicate by replicate: an inner mean of three benefits, and one of likelihoods by their logarithms."""
    if kind == "decision":
        problem = decisions.linear_decision([0, 0.1, 0.3], [0, 1, 2], np.ones((3, 3)) - np.eye(3), jnp.float64)
    else:
        problem = design.linear_experiment([[1, 0.5], [0.2, -1]], [1, 2], 0.5, dtype=jnp.float64)
    params = read.Params(r=(0.6,), b=(1,), block=32)
    found = read.replicates(problem, params, (1, 2), np.arange(32))
    np.testing.assert_allclose(found.value, by_hand(problem, Geometric(0.6), 1, (1, 2), range(32)), atol=1e-9)
    assert np.unique(found.leaves).size > 2


def test_random_levels_refuse_a_jump_and_fixed_ones_take_it():
    problem = risk.loss_probability()
    with pytest.raises(ValueError, match="not be a jump"):
        bounds.check_levels(problem, (0.6,))
    level_samples.check(problem, 10, 0)
    assert bounds.moment_profile(problem, (0.6,))[0] < 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decisions.linear_decision([1.0], [1.0], [1.0]), "intercepts must be a vector of at least two options"),
        (lambda: decisions.linear_decision([1.0, 2], [1.0], [1.0, 1]), r"slopes must have shape \(2\)"),
        (lambda: decisions.linear_decision([1.0, 2], [1.0, np.nan], [1.0, 1]), "slopes must be finite, got nan"),
        (lambda: decisions.linear_decision([1.0, 2], [1.0, 1], [1.0]), r"noise must have shape \(2, any\)"),
        (lambda: health.health_decision(0), "willingness must be positive and finite, got 0"),
        (lambda: credit.forward_adjustment(times=(1.0, 1.0)), "times must be positive and increasing"),
        (lambda: credit.forward_adjustment(times=()), "times must be positive and increasing"),
        (lambda: credit.forward_adjustment(hazard=0.0), "hazard must be positive and finite, got 0.0"),
        (lambda: credit.forward_adjustment(recovery=1.0), r"recovery must lie in \[0, 1\), got 1.0"),
        (lambda: design.linear_experiment(1.0, noise=0.0), "noise must be positive and finite, got 0.0"),
        (lambda: design.linear_experiment([[1.0, 2]], [1.0]), r"scale must have shape \(2\)"),
        (lambda: design.linear_experiment(1.0, width=0.9), "width must be >= 1: weights are unbounded below, got 0.9"),
        (lambda: design.linear_experiment(1.0, proposal="flat"), "proposal must be one of 'prior', 'posterior'"),
        (lambda: risk.loss_probability(kinds=("put", "share")), "kinds must be one of 'call', 'put', got 'share'"),
        (lambda: risk.loss_probability(amounts=(1.0,)), "strikes, kinds, amounts must have equal lengths"),
        (lambda: risk.loss_probability(maturity=0.1), "maturity must lie beyond the horizon 0.1, got 0.1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
