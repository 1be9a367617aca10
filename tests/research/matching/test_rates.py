"""Rescaling and proposal rates: worked values, marginals by construction, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_instances
import worked_examples

from research.core import prng
from research.matching import oracles_exact, problems, rates, relaxation

RESCALINGS = {"edge": rates.EDGE, "nsw": rates.NSW, "vertex": rates.VERTEX}


@pytest.mark.parametrize("name", RESCALINGS)
def test_rescaling_is_convex_increasing_and_keeps_the_ends(name, x64):
    h = RESCALINGS[name]
    y = worked_examples.double(np.linspace(0, 1, 1001))
    values = np.asarray(h(y))
    assert values[0] == 0
    np.testing.assert_allclose(values[-1], 1, atol=1e-15)
    np.testing.assert_allclose(h.remaining(y), 1 - values, atol=1e-15)
    assert np.all(np.diff(values) > 0)
    assert np.all(np.diff(values, 2) >= -1e-15)


def test_thresholds_are_those_of_the_parameters(x64):
    np.testing.assert_allclose(rates.EDGE.threshold, 0.18 / 0.29, rtol=1e-14)
    np.testing.assert_allclose(rates.NSW.threshold, 0.0643 / 0.1123, rtol=1e-14)
    assert rates.VERTEX.threshold == 1


def test_increments_add_up_and_survive_single_precision(x64):
    y = worked_examples.double(np.linspace(0, 0.999, 77))
    mass = worked_examples.double(1e-6 * np.linspace(0, 1, 77))
    exact = np.asarray(rates.EDGE(y + mass)) - np.asarray(rates.EDGE(y))
    np.testing.assert_allclose(rates.EDGE.increment(y, mass), exact, atol=1e-15)
    # Only on one side of the threshold is float32 near the mass itself; the difference of two values is 6e-8 off.
    single = rates.EDGE.increment(y.astype(jnp.float32), mass.astype(jnp.float32))
    away = np.abs(np.asarray(y) - 0.18 / 0.29) > 1e-5
    np.testing.assert_allclose(np.asarray(single)[away], exact[away], rtol=1e-6)


def test_worked_rates_and_survivals(x64):
    problem, x = worked_examples.two_by_four()
    plain = [[0.6, 10 / 21, 0.5, 2 / 3], [0.4, 0.625, 0.5, 2 / 3]]
    np.testing.assert_allclose(rates.proposal_rates(problem, x, rates.VERTEX), plain, atol=1e-9)
    np.testing.assert_allclose(rates.survival(x), [[1, 0.7, 0.5, 0.3, 0.2], [1, 0.8, 0.5, 0.3, 0.2]], atol=1e-12)
    scaled = [[0.534, 0.4047294225, 0.4527027027, 2 / 3], [0.356, 0.5413625304, 0.4527027027, 2 / 3]]
    np.testing.assert_allclose(rates.proposal_rates(problem, x, rates.EDGE), scaled, atol=1e-9)
    survival = [[1, 0.733, 0.555, 0.354, 0.236], [1, 0.822, 0.555, 0.354, 0.236]]
    np.testing.assert_allclose(rates.survival(x, rates.EDGE), survival, atol=1e-12)
    problem, x = worked_examples.two_that_collide()
    np.testing.assert_allclose(rates.proposal_rates(problem, x, rates.VERTEX), [[1, 0, 1, 1], [0, 1, 1, 1]], atol=1e-12)
    _, x = worked_examples.two_types()
    np.testing.assert_allclose(rates.survival(x), [[1, 0.6, 0.35], [1, 0.65, 0.35]], atol=1e-12)
    np.testing.assert_allclose(rates.survival(x, rates.EDGE), [[1, 0.644, 0.413], [1, 0.6885, 0.413]], atol=1e-12)


@pytest.mark.parametrize("num_types", [0, 3])
@pytest.mark.parametrize("name", RESCALINGS)
def test_rates_realise_the_survival(name, num_types, x64):
    """A free node leaves with probability sum_j p_tj r_itj: the product of what stays is 1 - h(y)."""
    batch, x, _ = random_instances.batch(3, 100, 4, 9, num_types, RESCALINGS[name])
    assert np.asarray(batch.rates).min() >= 0
    assert np.asarray(batch.rates).max() <= 1
    leaving = batch.arrivals[:, None] * batch.rates
    leaving = np.asarray(leaving.sum(-1) if num_types else leaving)
    stays = np.cumprod(1 - leaving, axis=-1)
    expected = jax.vmap(lambda x: rates.survival(x, RESCALINGS[name]))(x)[..., 1:]
    np.testing.assert_allclose(stays, expected, atol=1e-11)


def test_single_precision_rates_are_close_to_double(x64):
    batch, x, _ = random_instances.batch(4, 50, 4, 9)
    scaled = jax.jit(jax.vmap(lambda w, p, x: rates.proposal_rates(problems.Problem(w, p), x, rates.EDGE)))
    single = scaled(*(a.astype(jnp.float32) for a in (batch.weights, batch.arrivals, x)))
    assert single.dtype == jnp.float32
    # An error of 1e-7 in y is one of 1e-7 / q in r.
    survival = np.asarray(jax.vmap(lambda x: rates.survival(x, rates.EDGE))(x))[..., :-1]
    error = np.abs(np.asarray(single) - np.asarray(batch.rates))[survival > 1e-3]
    assert error.max() < 2e-3
    assert np.abs(np.asarray(single) - np.asarray(batch.rates))[survival > 0.1].max() < 1e-5


def test_nobody_proposes_where_nobody_can_arrive_or_be_free(x64):
    problem = problems.from_arrays(worked_examples.double([[1, 1, 1, 1]]), worked_examples.double([0.0, 1, 0.5, 0]))
    x = worked_examples.double([[0, 1, 0, 0]])
    np.testing.assert_array_equal(rates.proposal_rates(problem, x, rates.EDGE), [[0, 1, 0, 0]])


def test_half_rates_are_offers_that_sum_to_at_most_one(x64):
    problem, x = worked_examples.two_by_four()
    offers = np.asarray(rates.half_rates(problem, x))
    y = np.asarray(rates.consumed(x))[:, :-1]
    np.testing.assert_allclose(offers, np.asarray(x) / np.asarray(problem.arrivals)[None] / (2 - y), rtol=1e-14)
    assert offers.sum(0).max() <= 1


def test_what_is_refused(x64):
    problem, x = worked_examples.two_by_four()
    with pytest.raises(ValueError, match=r"slack of x_it <= p_t \(1 - y_it\) must be >= .* at index \(0, 1\)"):
        rates.proposal_rates(problem, worked_examples.double([[0.5, 0.35, 0, 0], [0, 0.1, 0, 0]]), rates.EDGE)
    with pytest.raises(ValueError, match=r"x must be >= .* at index \(1, 2\)"):
        rates.proposal_rates(problem, x.at[1, 2].set(-0.1))
    with pytest.raises(ValueError, match=r"x must be finite, got nan at index \(0, 3\)"):
        rates.proposal_rates(problem, x.at[0, 3].set(np.nan))
    with pytest.raises(ValueError, match="x must have shape"):
        rates.proposal_rates(problem, x[:, :2])
    for eps, delta in ((1.0, 0.2), (-0.1, 0.2), (0.1, -0.2), (0.0, 0.2), (0.1, 0.0), (np.nan, 0.1)):
        with pytest.raises(ValueError, match="eps|delta"):
            rates.Rescaling(eps, delta)


def test_rates_above_one_by_more_than_rounding_are_refused(x64):
    """Feasible to 1e-4 in probability, but p is small: the rate is what shows it."""
    problem = problems.from_arrays(worked_examples.double([[1.0]]), worked_examples.double([1e-3]))
    with pytest.raises(ValueError, match=r"proposal rates must lie in \[0, 1.0001\], got 1.0[45].* at index \(0, 0\)"):
        rates.proposal_rates(problem, worked_examples.double([[1.05e-3]]), rates.VERTEX)
    assert rates.proposal_rates(problem, worked_examples.double([[1.00005e-3]]), rates.VERTEX) == 1


def test_what_the_solver_certifies_in_single_precision_is_taken():
    """Where x uses a node up, 1 - y is rounding, and the quotient x / (p (1 - y)) may lie anywhere."""
    batch = jax.vmap(lambda key: problems.er(key, 0.5, 20, 50))(prng.replicate_keys(prng.root_key(0), 20))
    allocations = relaxation.solve_batch(batch).x
    for lane in range(20):
        problem, x = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (batch, allocations))
        found = np.asarray(rates.proposal_rates(problem, x, rates.EDGE))
        assert 0 <= found.min() <= found.max() <= 1
        # What is cut off leaves the probabilities of being free where they should be, but for T units of rounding.
        stays = np.cumprod(1 - np.asarray(problem.arrivals, np.float64) * found, axis=1)
        np.testing.assert_allclose(stays, rates.survival(x, rates.EDGE)[:, 1:], atol=50 * 1.2e-7)


def test_in_single_precision_too_what_is_infeasible_is_refused():
    """A node used up but for 1e-3 is asked for 2e-3 more: feasible to 1e-4 in probability, and far beyond rounding."""
    problem = problems.from_arrays(jnp.ones((1, 3)), jnp.asarray([1.0, 0.05, 1e-6]))
    with pytest.raises(ValueError, match=r"proposal rates must lie in \[0, 1.0001\], got 1.9.* at index \(0, 1\)"):
        rates.proposal_rates(problem, jnp.asarray([[0.999, 1e-4, 0]]), rates.VERTEX)
    with pytest.raises(ValueError, match=r"proposal rates must lie .* at index \(0, 2\)"):
        rates.proposal_rates(problem, jnp.asarray([[0.999, 0, 1e-7]]), rates.VERTEX)
    assert rates.proposal_rates(problem, jnp.asarray([[0.999, 5e-5, 0]]), rates.VERTEX)[0, 1] == pytest.approx(
        1, rel=1e-4
    )


def test_random_allocations_are_feasible_and_touch_the_boundary(x64):
    rng = np.random.default_rng(0)
    arrivals = rng.random((40, 7, 2)) / 2
    tight = 0
    for p in arrivals:
        x = oracles_exact.random_allocation(rng, p, 3)
        problem = problems.from_arrays(worked_examples.double(np.ones(x.shape)), worked_examples.double(p))
        problems.validate_allocation(problem, x, 1e-12)
        tight += np.sum(x.sum(0) > p - 1e-9)
    assert tight > 0.2 * arrivals.size
