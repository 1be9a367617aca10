"""The best online policy: worked values, the recursion as written, where it lies among the benchmarks, its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_instances
import worked_examples
from scipy import special

from pallas_kernels.subset_dp import peers
from research.core import prng
from research.matching import exact_law, oracles, oracles_exact, philosopher, problems, rounding


def test_worked_values(x64):
    np.testing.assert_allclose(philosopher.solve(worked_examples.two_by_four()[0]).value, 6.89, atol=1e-9)
    np.testing.assert_allclose(philosopher.solve(worked_examples.gamble()).value, 1.5, atol=1e-9)
    for poisson, value in ((0.724, 1.002557665175), (1.0, 1.002351851852)):
        problem, _ = problems.hard_edge(3, poisson, 1e-3, jnp.float64)
        np.testing.assert_allclose(philosopher.solve(problem).value, value, atol=1e-9)
    for load, ratio in ((1.0, 0.898206), (1.5, 0.876111), (2.0, 0.895025)):
        problem = problems.identical(2, 100, load, jnp.float64)
        np.testing.assert_allclose(
            philosopher.solve(problem).value / oracles.online_lp(problem).value, ratio, atol=1e-6
        )


@pytest.mark.parametrize("kind", ["bernoulli", "typed", "stationary"])
def test_values_are_those_of_the_recursion(kind, x64):
    key = prng.root_key(1)
    for num_nodes in (1, 4):
        if kind == "bernoulli":
            problem = problems.er(key, 0.7, num_nodes, 5, jnp.float64)
        else:
            problem = problems.typed_random(key, num_nodes, 5, 3, stationary=kind == "stationary", dtype=jnp.float64)
        solution = philosopher.solve(problem, keep=True)
        reference = oracles_exact.subset_values(problem.weights, problem.arrivals)
        np.testing.assert_allclose(solution.values, reference, atol=1e-13)
        np.testing.assert_allclose(solution.value, reference[0, -1], atol=1e-13)


@pytest.mark.parametrize("num_nodes", [9, 12])
def test_many_blocks_agree_with_bit_views(num_nodes):
    """Upper and lower bits: 12 nodes are eight blocks. Sums of at most 12 weights below 1: rounding of a few 1e-6."""
    rng = np.random.default_rng(2)
    weights, arrivals = (rng.random(shape).astype(np.float32) for shape in ((num_nodes, 8), (8,)))
    solution = philosopher.solve(problems.from_arrays(weights, arrivals), keep=True)
    np.testing.assert_allclose(solution.values[0], peers.bit_view_values(weights, arrivals), atol=5e-6)


def test_the_policy_earns_its_value(x64):
    for num_types in (0, 2):
        batch, _, _ = random_instances.batch(3, 5, 4, 6, num_types)
        for index in range(5):
            one = random_instances.lane(batch, index)
            problem = problems.Problem(one.weights, one.arrivals)
            solution = philosopher.solve(problem, keep=True)
            table = philosopher.choices(problem, solution.values)
            np.testing.assert_allclose(exact_law.law_of_choices(one, table).value, solution.value, atol=1e-12)


def test_value_of_rounding_then_philosopher_then_relaxation(x64):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        weights, arrivals = rng.random((5, 6)) ** rng.choice([1, 4]), rng.random(6) ** rng.choice([0.3, 1])
        problem = problems.from_arrays(worked_examples.double(weights), worked_examples.double(arrivals))
        solved, best = oracles.online_lp(problem), float(philosopher.solve(problem).value)
        rounded = rounding.from_allocation(problem, worked_examples.double(np.clip(solved.x, 0, None)))
        assert float(exact_law.law(rounded).value) <= best + 1e-9
        assert best <= solved.value + 1e-9


def test_runs_earn_the_value_and_face_the_arrivals_of_the_rounding():
    key = prng.root_key(4)
    problem = problems.er(key, 0.8, 5, 8)
    solution = philosopher.solve(problem, keep=True)
    keys = prng.replicate_keys(key, 100_000)
    values, nodes = jax.jit(jax.vmap(philosopher.play, (None, None, 0)))(problem, solution.values, keys)
    values = np.asarray(values, np.float64)
    z = (values.mean() - float(solution.value)) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < -special.ndtri(0.5e-6)
    rates = rounding.Problem(problem.weights, problem.arrivals, jnp.zeros_like(problem.weights))
    arrived = jax.jit(jax.vmap(rounding.run, (None, None, 0)))(rates, rounding.Params(), keys[:100]).trace.arrived
    assert np.all((np.asarray(nodes[:100]) < 0) | (np.asarray(arrived) >= 0))


def test_ties_are_matched_at_the_smaller_index():
    later = jnp.zeros(8)
    assert philosopher.choose(later, jnp.asarray([0.0, 2.0, 2.0]), jnp.ones(3, bool)) == 1
    assert philosopher.choose(later, jnp.zeros(3), jnp.ones(3, bool)) == -1
    assert philosopher.choose(jnp.asarray([0.0, 1.0]), jnp.ones(1), jnp.ones(1, bool)) == 0  # as good as waiting


def test_what_does_not_fit_is_refused_with_its_memory():
    problem = problems.Problem(jnp.ones((25, 9)), jnp.ones(9))
    message = (
        r"number of offline nodes must be <= 24 on 1 device\(s\), got 25: 0.125 GiB for one time, 1.25 GiB for all"
    )
    with pytest.raises(ValueError, match=message):
        philosopher.solve(problem)
    with pytest.raises(ValueError, match="arrivals must lie in"):
        philosopher.solve(problems.Problem(jnp.ones((3, 2)), jnp.full(2, 1.5)))


@pytest.mark.slow
def test_twenty_nodes_and_a_hundred_times():
    rng = np.random.default_rng(5)
    weights, arrivals = (rng.random(shape).astype(np.float32) for shape in ((20, 100), (100,)))
    value = philosopher.solve(problems.from_arrays(weights, arrivals)).value
    # float32 over 100 times of values near 19: rounding of 1e-6 relative, added up.
    np.testing.assert_allclose(value, peers.bit_view_values(weights, arrivals)[-1], rtol=2e-5)
