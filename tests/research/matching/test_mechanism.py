"""Posted prices: worked values, never below the rounding, truthful, rollouts against exact prices, bad input."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.core import prng
from research.matching import exact_law, mechanism, mechanism_exact, problems, rates, rounding

WEIGHTS, ARRIVALS = [[4, 3, 2, 5], [3, 5, 1, 4]], [0.5, 0.6, 0.8, 0.5]
ALLOCATION = [[0.5, 0, 0, 0.25], [0, 0.6, 0, 0.2]]


def limit(comparisons):
    """Standard errors that a test may be off: false alarms 1e-6 over all its comparisons."""
    return special.ndtri(1 - 1e-6 / (2 * comparisons))


def mechanism_of(problem, x, rescaling=rates.EDGE):
    rounded = rounding.from_allocation(problem, jnp.asarray(x, problem.weights.dtype), rescaling)
    return mechanism.Problem(rounded.weights, rounded.arrivals, rounded.rates)


def worked(dtype):
    instance = problems.from_arrays(jnp.asarray(WEIGHTS, dtype), jnp.asarray(ARRIVALS, dtype))
    return mechanism_of(instance, ALLOCATION, rates.VERTEX)


@functools.cache
def instances(num_types, num=120, num_nodes=4, num_steps=6):
    """Random weights (some 0), arrivals, and feasible allocations that use up most of every node; float64 NumPy."""
    rng = np.random.default_rng(num_types)
    shape = (num, num_nodes, num_steps, max(num_types, 1))
    weights = rng.random(shape) * (rng.random(shape) < 0.8)
    arrivals = rng.random(shape[2:3]) * rng.dirichlet(np.ones(shape[3]), (num, num_steps)).transpose(2, 0, 1)
    arrivals = np.moveaxis(arrivals, 0, -1)
    x, left = np.zeros(shape), np.ones((num, num_nodes))
    for t in range(num_steps):
        share = rng.random(shape[:2] + shape[3:]) ** rng.choice([0.3, 1, 3], (num, 1, 1))
        wanted = share * arrivals[:, None, t] * left[..., None]
        x[:, :, t] = wanted * np.minimum(1, arrivals[:, t] / np.maximum(wanted.sum(1), 1e-300))[:, None]
        left -= x[:, :, t].sum(-1)
    return (weights, arrivals, x) if num_types else tuple(array[..., 0] for array in (weights, arrivals, x))


@pytest.mark.usefixtures("x64")
def test_worked_values():
    exact = mechanism_exact.exact(worked(jnp.float64))
    np.testing.assert_allclose(exact.rounding[0, -1], 6.65, rtol=0, atol=1e-9)
    np.testing.assert_allclose(exact.welfare[0, -1], 6.89, rtol=0, atol=1e-9)  # the philosopher's value here
    np.testing.assert_allclose(exact.prices[0, -1], [1.7, 3.0], rtol=0, atol=1e-9)


@functools.cache
def exact_batch(num_types):
    """The exact mechanism on all instances, and its value by the law of the free set; NumPy, float64."""

    def solve(weights, arrivals, x):
        problem = mechanism_of(problems.Problem(weights, arrivals), x)
        exact = mechanism_exact.exact(problem)
        return exact, exact_law.law_of_choices(problem.rounding, exact.choices).value

    with jax.enable_x64(True):
        return jax.device_get(jax.jit(jax.vmap(solve))(*(jnp.asarray(a) for a in instances(num_types))))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_types", [0, 2])
def test_welfare_is_at_least_the_rounding_from_every_time_and_set(num_types):
    exact, value = exact_batch(num_types)
    floor = np.asarray(mechanism_exact.monotone(jnp.asarray(exact.rounding)))
    assert np.all(exact.welfare >= floor - 1e-12)
    assert np.all(floor >= exact.rounding)
    assert np.mean(exact.welfare[:, 0, -1] > exact.rounding[:, 0, -1] * 1.01) > 0.9  # and usually far above
    # Forward, through the law of the free set, the same mechanism earns the same.
    np.testing.assert_allclose(value, exact.welfare[:, 0, -1], rtol=0, atol=1e-12)
    assert np.all((exact.revenue >= 0) & (exact.revenue <= exact.welfare + 1e-12))
    finite = np.isfinite(exact.prices)
    assert np.all(finite == exact_law.membership(4)[None, None])
    assert np.all(exact.prices[finite] >= 0)
    # The reason for `monotone`: the value to go of the rounding itself may fall when a node is added.
    assert np.max(floor - exact.rounding) > 1e-4


@pytest.mark.usefixtures("x64")
def test_misreporting_to_exact_prices_never_pays():
    prices = jnp.asarray(exact_batch(0)[0].prices)[None]  # [1, 120, T, S, n]
    weights = jnp.asarray(instances(0)[0]).transpose(0, 2, 1)[None, :, :, None]
    factors = np.random.default_rng(5).choice([0, 0.5, 0.9, 1.1, 3], (50, *weights.shape[1:]))
    reports = jnp.asarray(factors) * weights
    gain = np.asarray(mechanism.misreport_gain(prices, jnp.broadcast_to(weights, reports.shape), reports))
    assert gain.max() <= 0  # exactly: the truth takes the best of the same numbers
    assert np.mean(gain < -1e-3) > 0.05  # and reports often cost something


def test_a_buyer_takes_the_best_node_that_is_wanted():
    prices = jnp.asarray([0.5, 0.0, jnp.inf, 0.25])
    for weights, bought in (
        ([0.7, 0, 9, 0.5], 3),  # 0.2, not wanted even for free, not free, 0.25
        ([0.75, 0, 9, 0.5], 0),  # a tie goes to the smaller index
        ([0.4, 0, 9, 0.2], -1),
        ([0.5, 0, 9, 0], 0),  # nothing lost by buying at the price
    ):
        assert mechanism.choose(prices, jnp.asarray(weights)) == bought


# Rollouts.


def single(num_types, index):
    """One of the instances in float32, with honest reports."""
    weights, arrivals, x = (jnp.asarray(a[index], jnp.float32) for a in instances(num_types))
    problem = mechanism_of(problems.Problem(weights, arrivals), x)
    return dataclasses.replace(problem, reports=problem.weights)


@functools.cache
def price_batch(num_rollouts, num_steps):
    params = mechanism.Params(num_steps, num_rollouts)
    prices = functools.partial(mechanism.posted_prices, params=params)

    def one(problem, key, step, free):
        return prices(problem, key=key, step=step, free=free)

    return jax.jit(jax.vmap(one, (None, 0, None, None)))


@pytest.mark.parametrize("num_types", [0, 2])
def test_rollout_prices_have_the_exact_price_as_mean(num_types):
    values = exact_batch(num_types)[0].rounding[0]
    problem = single(num_types, 0)
    keys = prng.replicate_keys(prng.root_key(num_types), 64)
    compared = 0
    for step, members in ((0, 0b1111), (2, 0b1011), (4, 0b0110)):
        free = jnp.asarray([bool(members >> i & 1) for i in range(4)])
        prices = np.asarray(price_batch(400, 6)(problem, keys, jnp.int32(step), free), np.float64)
        for i in range(4):
            if not free[i]:
                assert np.all(np.isinf(prices[:, i]))
                continue
            truth = values[step + 1, members] - values[step + 1, members ^ (1 << i)]
            mean, error = prices[:, i].mean(), prices[:, i].std(ddof=1) / 8
            if truth > 6 * 8 * error:  # so that no lane is cut off at 0, which would shift the mean
                assert abs(mean - truth) <= limit(9) * error + 1e-6  # float32 sums; rates on a grid of 2^-24
                compared += 1
    assert compared >= 5


@pytest.mark.slow  # 10 s: one program with tables of prices, their law and runs
def test_runs_earn_what_their_prices_are_worth():
    """For every key the table of its rollout prices has an exact welfare, by the law of the free set."""
    problem, params = worked(jnp.float32), mechanism.Params(4, 64)
    sets = jnp.asarray(exact_law.membership(2))

    def judge(key):
        def table(step):
            return jax.vmap(lambda free: mechanism.posted_prices(problem, params, key, step, free))(sets)

        prices = jax.vmap(table)(jnp.arange(4))
        choices = mechanism.choose(prices, problem.weights.T[:, None])
        return prices, exact_law.law_of_choices(problem.rounding, choices).value, mechanism.run(problem, params, key)

    prices, value, result = jax.jit(jax.vmap(judge))(prng.replicate_keys(prng.root_key(0), 300))
    value, welfare = np.asarray(value, np.float64), np.asarray(result.welfare, np.float64)
    difference = welfare - value  # arrivals and rollouts have streams of their own: mean 0
    assert abs(difference.mean()) <= limit(1) * difference.std(ddof=1) / math.sqrt(len(difference))
    assert np.all(value <= 6.89 + 1e-5)  # the philosopher's value
    np.testing.assert_allclose(np.median(value), 6.89, rtol=0, atol=1e-5)
    exact = mechanism_exact.exact(problem)
    assert np.all(np.asarray(mechanism_exact.largest_decrease(exact.rounding)) == 0)
    off = np.where(sets, np.abs(np.asarray(prices) - np.where(sets, exact.prices, 0)), 0).max(-1).mean(0).max()
    assert 0.01 < off < 0.5
    assert value.mean() >= mechanism.welfare_guarantee(problem, exact.rounding[0, -1], off)
    np.testing.assert_allclose(result.state.revenue, result.trace.payment.sum(1), rtol=1e-5)
    sold = np.asarray(result.trace.sold)
    for node in range(2):
        np.testing.assert_array_equal((sold == node).sum(1), ~np.asarray(result.state.free)[:, node])


@functools.cache
def runs(num_steps, num_rollouts=32):
    params = mechanism.Params(num_steps, num_rollouts)
    return jax.jit(jax.vmap(lambda problem, key: mechanism.run(problem, params, key), (None, 0)))


def test_prices_know_nothing_of_the_present_and_the_past():
    problem, keys = single(0, 1), prng.replicate_keys(prng.root_key(1), 64)

    def price(problem):
        return np.asarray(price_batch(400, 6)(problem, keys, jnp.int32(2), jnp.ones(4, bool)))

    truth, said = price(problem), problem.weights.at[:, :3].multiply(0.3)
    np.testing.assert_array_equal(price(dataclasses.replace(problem, weights=said)), truth)
    np.testing.assert_array_equal(price(dataclasses.replace(problem, reports=0 * said)), truth)
    later = dataclasses.replace(problem, weights=problem.weights.at[:, 3:].multiply(0.3))
    assert not np.array_equal(price(later), truth)


@pytest.mark.parametrize("num_types", [0, 2])
def test_misreporting_to_rollout_prices_never_pays(num_types):
    """Not only in the mean: a buyer who lies meets the same prices as one who does not, replicate by replicate."""
    honest = single(num_types, 2)
    keys = prng.replicate_keys(prng.root_key(2), 200)
    rng = np.random.default_rng(3)
    utility = []
    factors = jnp.asarray(rng.choice([0.2, 0.8, 3], (3, *honest.weights[:, 1].shape)), jnp.float32)
    lies = [honest.weights.at[:, 1].multiply(factor) for factor in factors]
    for reports in (honest.weights, *lies):
        trace = runs(6)(dataclasses.replace(honest, reports=reports), keys).trace
        utility.append(np.asarray(trace.welfare - trace.payment, np.float64)[:, 1])
    gain = np.stack(utility[1:]) - utility[0]
    assert gain.max() <= 1e-7  # float32: welfare - payment is rounded once more than the comparison was
    assert gain.min() < -1e-3


def test_no_reports_are_honest_reports():
    problem, keys = single(0, 3), prng.replicate_keys(prng.root_key(7), 200)
    traces = [runs(6)(one, keys).trace for one in (problem, dataclasses.replace(problem, reports=None))]
    jax.tree.map(np.testing.assert_array_equal, *traces)


def test_buyers_arrive_as_in_the_rounding():
    problem, keys = single(2, 3), prng.replicate_keys(prng.root_key(4), 200)
    rounded = jax.jit(jax.vmap(lambda key: rounding.run(problem.rounding, rounding.Params(), key).trace.arrived))(keys)
    np.testing.assert_array_equal(runs(6)(problem, keys).trace.arrived, rounded)


def test_padding_changes_no_price():
    problem, keys = single(0, 5), prng.replicate_keys(prng.root_key(6), 64)
    padded = problems.pad(problems.Problem(problem.weights, problem.arrivals), 6, 11)
    rates_of_all = jnp.pad(problem.rates, ((0, 2), (0, 5)))
    larger = mechanism.Problem(padded.weights, padded.arrivals, rates_of_all, padded.weights)
    prices, same = (
        price_batch(400, 6)(one, keys, jnp.int32(1), jnp.ones(len(one.weights), bool)) for one in (problem, larger)
    )
    np.testing.assert_array_equal(same[:, :4], prices)
    np.testing.assert_array_equal(same[:, 4:], 0)


@pytest.mark.usefixtures("x64")
def test_monotone_is_the_largest_value_of_a_subset():
    values = np.random.default_rng(0).random((3, 16))
    subsets = [[g for g in range(16) if g & f == g] for f in range(16)]
    truth = np.stack([values[:, below].max(1) for below in subsets], 1)
    np.testing.assert_array_equal(mechanism_exact.monotone(jnp.asarray(values)), truth)
    np.testing.assert_array_equal(mechanism_exact.largest_decrease(jnp.asarray(values)), (truth - values).max(1))


def test_the_guarantee_counts_errors_once_for_every_arrival():
    problem = worked(jnp.float32)
    np.testing.assert_allclose(mechanism.welfare_guarantee(problem, 6.65), 6.65)
    np.testing.assert_allclose(mechanism.welfare_guarantee(problem, 6.65, 0.1, 0.2), 6.65 - 0.2 * 2.4 - 0.4, rtol=1e-6)


def broken(**changes):
    return dataclasses.replace(worked(jnp.float32), **{name: jnp.asarray(value) for name, value in changes.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrivals": [0.5, 1.2, 0.8, 0.5]}, r"arrivals must lie in \[0, 1\], got 1\.2.* at index 1"),
        ({"arrivals": [0.5, 0.6, 0.8]}, r"weights and arrivals must have shapes"),
        ({"weights": [[4, 3, 2, -5.0], [3, 5, 1, 4]]}, r"weights must be >= 0, got -5\.0 at index \(0, 3\)"),
        ({"weights": [[4, 3, 2, math.nan], [3, 5, 1, 4]]}, r"weights must be finite, got nan at index \(0, 3\)"),
        ({"rates": [[0, 0, 0, 1.5], [0.0, 0, 0, 0]]}, r"rates must lie in \[0, 1\], got 1\.5 at index \(0, 3\)"),
        ({"rates": [[0.0, 0.0]]}, r"rates must have shape \(2, 4\)"),
        ({"reports": [[0.0, 0.0]]}, r"reports must have shape \(2, 4\)"),
        ({"reports": [[0, 0, 0, -1.0], [0.0, 0, 0, 0]]}, r"reports must be >= 0, got -1\.0 at index \(0, 3\)"),
        ({"reports": [[0, 0, math.inf, 0], [0.0, 0, 0, 0]]}, r"reports must be finite, got inf at index \(0, 2\)"),
    ],
)
def test_bad_problems_are_named(changes, message):
    problem = broken(**changes)
    for call in (
        lambda: mechanism.run(problem, mechanism.Params(4), prng.root_key(0)),
        lambda: mechanism_exact.exact(problem),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mechanism.Params(0), r"Params\.num_steps must be >= 1, got 0"),
        (lambda: mechanism.Params(1, 0), r"Params\.num_rollouts must be >= 1, got 0"),
        (lambda: mechanism.Params(1, mode="pivotal"), r"Params\.mode must be one of .*, got 'pivotal'"),
        (lambda: mechanism_exact.exact(worked(jnp.float32), "bins"), r"mode must be one of .*, got 'bins'"),
        (lambda: mechanism.run(worked(jnp.float32), mechanism.Params(4)), r"key must be given unless a state is"),
        (lambda: mechanism.run(worked(jnp.float32), mechanism.Params(5), prng.root_key(0)), r"<= 4, the times left"),
        (
            lambda: mechanism_exact.exact(mechanism.Problem(jnp.ones((13, 1)), jnp.ones(1), jnp.ones((13, 1)))),
            r"number of offline nodes must be <= 12",
        ),
    ],
)
def test_bad_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
