"""The prophet: worked values, brute force, order of the benchmarks, and what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_examples

from research.core import prng
from research.matching import offline, oracles, philosopher, problems, rounding


def test_worked_values(x64):
    assert offline.expected(worked_examples.two_by_four()[0]).value == pytest.approx(7.36, abs=1e-9)
    assert offline.expected(worked_examples.gamble()).value == pytest.approx(2.49, abs=1e-9)


def test_matching_is_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    for num_nodes, num_arrivals in itertools.product(range(1, 5), range(1, 5)):
        weights = rng.random((num_nodes, num_arrivals)) * (rng.random((num_nodes, num_arrivals)) < 0.7)
        seats = [*range(num_nodes), *[None] * num_arrivals]
        best = max(
            sum(weights[i, k] for k, i in enumerate(order) if i is not None)
            for order in itertools.permutations(seats, num_arrivals)
        )
        assert offline.best_matching(weights) == pytest.approx(best, abs=1e-12)


def test_expectation_over_types_is_the_sum_over_realisations(x64):
    problem = problems.typed_random(prng.root_key(1), 2, 3, 2, stationary=True, dtype=jnp.float64)
    weights, arrivals = np.asarray(problem.weights)[:, 0], np.asarray(problem.arrivals)
    total = 0.0
    for kinds in itertools.product(range(-1, 2), repeat=3):
        chance = np.prod([arrivals[t, j] if j >= 0 else 1 - arrivals[t].sum() for t, j in enumerate(kinds)])
        came = weights[:, [j for j in kinds if j >= 0]]
        total += chance * (offline.best_matching(came) if came.size else 0)
    assert offline.expected(problem).value == pytest.approx(total, abs=1e-12)


def test_prophet_lies_between_philosopher_and_ex_ante_relaxation(x64):
    for seed in range(10):
        problem = problems.er(prng.root_key(seed), 0.7, 4, 7, jnp.float64)
        value = offline.expected(problem).value
        assert float(philosopher.solve(problem).value) <= value + 1e-9
        assert value <= oracles.ex_ante_lp(problem).value + 1e-9


def test_sampled_expectation_covers_the_exact_one():
    problem, params = rounding.example(prng.root_key(2))
    keys = prng.replicate_keys(prng.root_key(3), 2000)
    arrived = jax.jit(jax.vmap(rounding.run, (None, None, 0)))(problem, params, keys).trace.arrived
    instance = problems.Problem(problem.weights, problem.arrivals)
    estimate = offline.sampled(instance, arrived, level=1 - 1e-6)
    assert estimate.interval.low <= offline.expected(instance).value <= estimate.interval.high
    # 2 x 4.9 standard errors; the best matching has a standard deviation of about 1.
    assert estimate.interval.high - estimate.interval.low < 2 * 4.9 * 1.2 / np.sqrt(2000)


def test_what_is_refused():
    with pytest.raises(ValueError, match="number of arrival times must be <= 16, got 17"):
        offline.expected(problems.Problem(jnp.ones((2, 17)), jnp.full(17, 0.5)))
    wide = problems.Problem(jnp.ones((2, 12, 3)), jnp.full((12, 3), 0.2))
    with pytest.raises(ValueError, match="number of realisations must be <= 65536; .*, got 16777216"):
        offline.expected(wide)
