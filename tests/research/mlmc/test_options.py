"""Bermudan puts: values to ten digits, the law of the assets, and rules found by regression, which stay below."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.mlmc import options, quadrature, regression
from research.mlmc.problems import check, direct_delta

#: A standard normal exceeds this with probability 5e-8, and so twice in the one comparison of this file.
SIGMAS = 5.33


@pytest.mark.parametrize(
    ("keywords", "values"),
    [
        ({}, (5.573526022, 7.2036, 8.1908)),
        ({"assets": 5, "mean": "geometric"}, (2.0531072, 2.5870, 2.8768)),
        ({"initial": 90.0}, (10.214165, 11.5975, 12.4134)),
    ],
)
def test_values_of_dynamic_programming_on_a_grid(keywords, values):
    """Those on a grid are good to 2e-5 and printed with four digits or more."""
    found = [options.bermudan_put(n, **keywords).exact for n in (1, 2, 3)]
    np.testing.assert_allclose(found, values, atol=7e-5, rtol=0)


def test_one_date_is_a_european_option_and_without_interest_so_are_many():
    european = options.black_scholes(100.0, 100.0, 0.05, 0.2, 1.0, call=False)
    assert options.put_value(100, 100, 0.05, 0.05 - 0.02, 0.2, 1.0, 1) == pytest.approx(european, rel=1e-13)
    late = options.black_scholes(100.0, 110.0, 0.0, 0.2, 3.0, call=False)
    assert options.put_value(100, 110, 0.0, -0.02, 0.2, 1.0, 3) == pytest.approx(late, rel=1e-11)


def test_deep_in_the_money_one_exercises_at_once():
    assert options.bermudan_put(3, initial=50.0).exact == 50.0


def test_more_dates_are_worth_more_and_no_more_than_the_strike_ahead():
    values = [options.put_value(100, 100, 0.05, 0.03, 0.2, 6.0 / n, n) for n in (1, 2, 3, 6, 12)]
    assert np.all(np.diff(values) > 0)
    assert values[-1] < 100


def test_the_value_does_not_depend_on_the_rule_of_integration(monkeypatch):
    values = []
    for points in (24, 40, 64):
        monkeypatch.setattr(options, "_POINTS", points)
        values.append(options.bermudan_put(6, assets=3, mean="geometric", correlation=0.3).exact)
    assert np.ptp(values) <= 1e-10 * values[0]


@pytest.mark.parametrize(("exercises", "points"), [(1, (2001,)), (2, (601, 601))])
def test_the_problem_is_the_option(x64, exercises, points):
    """One asset: by quadrature over the problem's own variates; corners cost less than 20 spacings**2 per date."""
    problem = options.bermudan_put(exercises, dtype=jnp.float64)
    rules = [quadrature.point(0), *(quadrature.normal_rule([count]) for count in points)]
    allowed = 20 * (16 / (min(points) - 1)) ** 2
    assert float(quadrature.nested_value(problem, rules)) == pytest.approx(problem.exact, abs=allowed)


def test_the_geometric_mean_of_three_is_the_option(x64):
    """Three equal variates z / sqrt(3) give the mean the law that independent ones give it."""
    problem = options.bermudan_put(2, assets=3, mean="geometric", dtype=jnp.float64)
    one = quadrature.normal_rule([601])
    rule = quadrature.Rule(np.repeat(one.points, 3, axis=1) / np.sqrt(3), one.weights)
    found = float(quadrature.nested_value(problem, [quadrature.point(0), rule, rule]))
    assert found == pytest.approx(problem.exact, abs=20 * (16 / 600) ** 2)


def test_assets_have_the_volatility_and_the_correlation_they_should(x64):
    problem = options.bermudan_put(1, assets=4, volatility=0.3, correlation=0.4, interval=0.5, dtype=jnp.float64)
    start = problem.init(jnp.zeros(0))
    move = jax.jit(jax.jacobian(lambda u: problem.transition(1, start, u)))(jnp.array([0.1, -2.0, 0.3, 1.0]))
    wanted = 0.3**2 * 0.5 * (0.4 + 0.6 * np.eye(4))
    np.testing.assert_allclose(move @ move.T, wanted, rtol=1e-12)


def test_discounted_assets_are_martingales(x64):
    problem = options.bermudan_put(1, assets=2, correlation=0.4, dtype=jnp.float64)
    rule = quadrature.normal_rule([101, 101])
    move = jax.jit(jax.vmap(lambda u: problem.transition(1, problem.init(u[:0]), u)))
    states = move(jnp.asarray(rule.points))
    grown = problem.discount * (rule.weights @ np.exp(states))
    np.testing.assert_allclose(grown, 1, rtol=1e-12)


def test_differences_of_maxima_without_cancellation(x64):
    problem = options.bermudan_put(2, initial=95.0, dtype=jnp.float64)
    state = problem.init(jnp.zeros(0))
    a, b = jnp.linspace(-3, 12, 40), jnp.linspace(9, 2, 40)
    found = jax.jit(jax.vmap(lambda a, b: problem.delta(0, state, a, b)))(a, b)
    plain = jax.jit(jax.vmap(lambda a, b: direct_delta(lambda z: problem.link(0, state, z), a, b)))(a, b)
    np.testing.assert_allclose(found, plain, atol=1e-13)
    assert np.any(found < -0.1)


@pytest.mark.parametrize("mean", options.MEANS)
def test_shapes_of_a_hundred_assets(mean):
    problem = options.bermudan_put(3, assets=100, mean=mean)
    assert check(problem) == ((),) * 4
    assert problem.num_variates == (0, 100, 100, 100)
    assert (problem.exact is None) == (mean == "arithmetic")


def test_a_rule_by_regression_is_worth_no_more_than_the_best_and_nearly_as_much():
    problem = options.bermudan_put(3, assets=5, mean="geometric")
    sizes = {"fit_paths": 20_000, "fresh_paths": 100_000}
    bounds = jax.jit(lambda key: regression.longstaff_schwartz(problem, key, **sizes))(prng.root_key(3))
    value, error = float(bounds.lower.value), float(bounds.lower.error)
    assert problem.exact * 0.99 - SIGMAS * error <= value <= problem.exact + SIGMAS * error
    assert abs(float(bounds.fitted) - problem.exact) < 0.02 * problem.exact
    assert 0 < error < 0.01 * problem.exact


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exercises": 0}, "exercises must lie in 1..6, got 0"),
        ({"exercises": 7}, "exercises must lie in 1..6, got 7"),
        ({"assets": 0}, "assets must be >= 1, got 0"),
        ({"mean": "harmonic"}, "mean must be one of 'arithmetic', 'geometric', got 'harmonic'"),
        ({"initial": 0.0}, "initial must be positive and finite, got 0.0"),
        ({"volatility": -0.1}, "volatility must be positive and finite, got -0.1"),
        ({"interval": np.nan}, "interval must be positive and finite, got nan"),
        ({"rate": np.inf}, "rate must be finite, got inf"),
        ({"correlation": 1.0}, r"correlation must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        options.bermudan_put(**({"exercises": 2} | arguments))


def test_other_bad_input_is_one_line():
    with pytest.raises(ValueError, match="drift must be at most rate"):
        options.put_value(100, 100, 0.05, 0.2, 0.2, 1.0, 2)
    with pytest.raises(ValueError, match="fit_paths must be >= 2, got 1"):
        regression.longstaff_schwartz(options.bermudan_put(1), prng.root_key(0), fit_paths=1, fresh_paths=10)
    with pytest.raises(ValueError, match="rules must have 2 entries, got 1"):
        quadrature.nested_value(options.bermudan_put(1), [quadrature.point(0)])
    with pytest.raises(ValueError, match=r"rules\[1\].points must have shape \(1, 1\)"):
        quadrature.nested_value(options.bermudan_put(1), [quadrature.point(0), quadrature.point(2)])
