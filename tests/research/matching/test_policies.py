"""Posted prices: worked values, the exact value against runs, ties, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_examples
from scipy import special

from research.core import prng
from research.matching import exact_law, oracles, policies, problems, rounding
from research.matching.policies import Params


def value(sold):
    """Exact, by enumeration."""
    rounded = rounding.Problem(sold.weights, sold.arrivals, jnp.zeros((sold.weights.shape[0], *sold.arrivals.shape)))
    return float(exact_law.law_of_choices(rounded, policies.choices(sold)).value)


def continuation(problem, multipliers):
    """V of the relaxation at given multipliers, from its definition."""
    weights, arrivals = np.asarray(problem.weights), np.asarray(problem.arrivals)
    values = np.zeros((weights.shape[0], weights.shape[1] + 1))
    for t in reversed(range(weights.shape[1])):
        gain = np.maximum(0, weights[:, t] - multipliers[t] - values[:, t + 1])
        values[:, t] = values[:, t + 1] + arrivals[t] * gain
    return values


def test_worked_values(x64):
    problem, _ = worked_examples.two_by_four()
    np.testing.assert_allclose(value(policies.greedy(problem)), 6.61, atol=1e-9)
    sold = policies.fgl(problem, oracles.ex_ante_lp(problem).x)
    np.testing.assert_allclose(sold.prices[:, 0], [2.25, 1.7], atol=1e-9)
    np.testing.assert_allclose(value(sold), 6.65, atol=1e-9)
    sold = policies.bid_price(problem, worked_examples.double(continuation(problem, [0, 0.5, 0, 0])))
    np.testing.assert_allclose(value(sold), 6.65, atol=1e-9)
    np.testing.assert_allclose(value(policies.greedy(worked_examples.gamble())), 1.0, atol=1e-12)
    np.testing.assert_allclose(value(policies.threshold_greedy(worked_examples.gamble(), 2.0)), 1.5, atol=1e-12)


def test_static_prices_earn_half_of_the_ex_ante_relaxation(x64):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weights, arrivals = rng.random((3, 6)) ** rng.choice([1, 6]), rng.random(6) ** rng.choice([0.3, 3])
        problem = problems.from_arrays(worked_examples.double(weights), worked_examples.double(arrivals))
        solved = oracles.ex_ante_lp(problem)
        assert value(policies.fgl(problem, solved.x)) >= solved.value / 2 - 1e-9


@pytest.mark.parametrize("typed", [False, True])
def test_runs_earn_the_exact_value(typed):
    key = prng.root_key(1)
    problem = problems.typed_random(key, 4, 6, 2, stationary=True) if typed else problems.er(key, 0.8, 4, 6)
    prices = jax.random.uniform(key, (4, 6)) / 2
    sold = policies.Problem(problem.weights, problem.arrivals, prices)
    runs = jax.jit(jax.vmap(policies.run, (None, None, 0)))(sold, Params(), prng.replicate_keys(key, 100_000))
    values = np.asarray(runs.value, np.float64)
    z = (values.mean() - value(sold)) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < -special.ndtri(0.5e-6)
    reward = np.asarray(runs.trace.reward)
    assert np.all((reward > 0) == (np.asarray(runs.trace.matched) >= 0))


def test_ties_go_to_the_smaller_index_and_no_edge_is_never_used():
    weights = jnp.asarray([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]])
    sold = policies.greedy(problems.Problem(weights, jnp.ones(2)))
    result = policies.run(sold, Params(), prng.root_key(0))
    np.testing.assert_array_equal(result.trace.matched, [1, 2])
    sold = dataclasses.replace(sold, prices=jnp.asarray([[0.0], [2.5], [2.0]]))
    np.testing.assert_array_equal(policies.run(sold, Params(), prng.root_key(0)).trace.matched, [2, -1])


def test_policies_and_roundings_face_the_same_arrivals():
    problem, _ = rounding.example(prng.root_key(2))
    sold = policies.greedy(problems.Problem(problem.weights, problem.arrivals))
    key = prng.root_key(3)
    one = rounding.run(problem, rounding.Params(), key).trace.arrived
    np.testing.assert_array_equal(one, policies.run(sold, Params(), key).trace.arrived)


def test_what_is_refused():
    sold, params = policies.example(prng.root_key(0))
    key = prng.root_key(0)
    with pytest.raises(ValueError, match=r"prices must have shape \(6, 10\) or \(6, 1\), got \(6, 3\)"):
        policies.run(dataclasses.replace(sold, prices=sold.prices[:, :3]), params, key)
    with pytest.raises(ValueError, match=r"prices must be finite, got nan at index \(2, 1\)"):
        policies.run(dataclasses.replace(sold, prices=sold.prices.at[2, 1].set(jnp.nan)), params, key)
    with pytest.raises(ValueError, match="Params.num_steps must be <= 10, the times left, got 11"):
        policies.run(sold, Params(11), key)
    with pytest.raises(ValueError, match="values must have shape"):
        policies.bid_price(problems.Problem(sold.weights, sold.arrivals), sold.prices)
