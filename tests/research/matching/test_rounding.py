"""The online simulators: the law they draw from, invariances of their draws, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_instances
import worked_examples
from scipy import special, stats

from research.core import prng
from research.matching import bounds, draws, exact_law, problems, rates, rounding, simulation
from research.matching.rounding import Params

RUNS = 100_000
ALARM = 1e-6  # of each test below, shared by all comparisons that it makes
PARAMS = {mode: Params(mode=mode, theta=0.5726 if mode == "bins" else None) for mode in rounding.MODES}

run_many = jax.jit(jax.vmap(rounding.run, (None, None, 0)))


def single_precision(problem):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), problem)


def crowded(seed, num_types=0, num_nodes=4, num_steps=6):
    """A random rounding problem in which discards are common."""
    key = prng.root_key(seed)
    shape = (num_nodes, num_steps, *(num_types,) * bool(num_types))
    weights = jax.random.uniform(prng.stream(key, "w"), shape)
    arrivals = jax.random.uniform(prng.stream(key, "p"), shape[1:]) / max(1, num_types)
    return rounding.Problem(weights, arrivals, jax.random.uniform(prng.stream(key, "r"), shape, minval=0.1, maxval=0.8))


def assert_binomial(counts, probabilities, comparisons):
    """Exact two-sided tails: a count outside has probability at most ALARM over all comparisons."""
    limit = ALARM / (2 * comparisons)
    probabilities = np.clip(np.asarray(probabilities, np.float64), 0, 1)
    # What float32 rates and 24-bit uniforms may shift, 1e-6 for each time, is far below a standard error of 1e-3.
    assert stats.binom.cdf(counts, RUNS, np.clip(probabilities - 1e-5, 0, 1)).min() > limit
    assert stats.binom.sf(np.asarray(counts) - 1, RUNS, np.clip(probabilities + 1e-5, 0, 1)).min() > limit


def assert_mean(values, expected, comparisons):
    values = np.asarray(values, np.float64)
    z = (values.mean() - expected) / (values.std() / np.sqrt(len(values)))
    assert abs(z) < -special.ndtri(ALARM / (2 * comparisons)), z


@pytest.mark.parametrize("num_types", [0, 2])
def test_draws_of_the_closed_form_have_the_exact_law(num_types):
    """Values, survival of every node at every time, and the joint law of the last free set, at 1e5 runs."""
    keys = prng.replicate_keys(prng.root_key(1), RUNS)
    for mode in ("closed_form", "keep")[: 1 if num_types else 2]:
        problem = crowded(10, num_types)
        law = exact_law.law(problem, PARAMS[mode])
        summary = simulation.simulate(problem, keys, mode=mode, count_free=True)
        comparisons = 2 * (1 + summary.free.size)
        assert_mean(summary.value, float(law.value), comparisons)
        assert_binomial(summary.free, exact_law.survival(law.free), comparisons)


@pytest.mark.parametrize("mode", rounding.MODES)
def test_runs_have_the_exact_law(mode):
    problem = crowded(11)
    if mode == "single":
        problem = dataclasses.replace(problem, rates=problem.rates / 4)
    law = exact_law.law(problem, PARAMS[mode])
    result = run_many(problem, PARAMS[mode], prng.replicate_keys(prng.root_key(2), RUNS))
    sets = np.asarray(result.state.free) @ (1 << np.arange(4))
    matched = np.stack([np.sum(np.asarray(result.trace.matched) == i, axis=0) for i in range(4)])
    comparisons = 1 + 16 + matched.size
    assert_mean(result.value, float(law.value), comparisons)
    assert_binomial(np.bincount(sets, minlength=16), law.free[-1], comparisons)
    assert_binomial(matched, law.matched, comparisons)


@pytest.mark.parametrize(("mode", "num_types"), [("closed_form", 0), ("keep", 0), ("closed_form", 3)])
def test_the_batch_simulator_repeats_single_runs(mode, num_types):
    problem = crowded(12, num_types, 7, 11)
    keys = prng.replicate_keys(prng.root_key(3), 100)
    runs = run_many(problem, PARAMS[mode], keys)
    summary = simulation.simulate(problem, keys, mode=mode, count_free=True)
    np.testing.assert_allclose(summary.value, runs.value, rtol=1e-6)
    np.testing.assert_array_equal(summary.free[-1], runs.state.free.sum(0))


@pytest.mark.optimized
def test_results_do_not_depend_on_how_many_are_simulated_together():
    problem = crowded(12, 0, 7, 11)
    keys = prng.replicate_keys(prng.root_key(3), 100)
    together = simulation.simulate(problem, keys).value
    np.testing.assert_array_equal(simulation.simulate(problem, keys, block=32).value, together)
    np.testing.assert_array_equal(simulation.simulate(problem, keys[:77]).value, together[:77])


def test_weights_that_do_not_depend_on_time_are_those_of_every_time():
    key = prng.root_key(4)
    fixed = problems.typed_random(key, 5, 9, 3, stationary=True)
    offers = jax.random.uniform(key, (5, 9, 3), maxval=0.5)
    one = rounding.Problem(fixed.weights, fixed.arrivals, offers)
    other = rounding.Problem(jnp.broadcast_to(fixed.weights, offers.shape), fixed.arrivals, offers)
    keys = prng.replicate_keys(key, 100)
    np.testing.assert_array_equal(simulation.simulate(one, keys).value, simulation.simulate(other, keys).value)
    first, second = (run_many(problem, Params(), keys) for problem in (one, other))
    np.testing.assert_array_equal(first.trace.matched, second.trace.matched)


@pytest.mark.parametrize("mode", ["closed_form", "pivotal", "bins"])
def test_padding_changes_nothing(mode):
    problem = crowded(13)
    padded = problems.pad(problems.Problem(problem.weights, problem.arrivals), 9, 11)
    padded = rounding.Problem(padded.weights, padded.arrivals, jnp.pad(problem.rates, ((0, 5), (0, 5))))
    keys = prng.replicate_keys(prng.root_key(5), 500)
    runs, wide = (run_many(p, PARAMS[mode], keys) for p in (problem, padded))
    np.testing.assert_array_equal(wide.trace.matched[:, :6], runs.trace.matched)
    np.testing.assert_array_equal(wide.trace.arrived[:, :6], runs.trace.arrived)
    np.testing.assert_array_equal(wide.trace.matched[:, 6:], -1)
    np.testing.assert_array_equal(wide.state.free[:, :4], runs.state.free)
    if mode == "closed_form":
        narrow, broad = (simulation.simulate(p, keys, mode=mode, count_free=True) for p in (problem, padded))
        np.testing.assert_array_equal(narrow.value, broad.value)
        np.testing.assert_array_equal(narrow.free, broad.free[:7, :4])


def test_both_precisions_make_the_same_decisions(x64):
    problem = crowded(14)
    double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), problem)
    keys = prng.replicate_keys(prng.root_key(6), 200)
    for mode in ("closed_form", "pivotal"):
        one, other = (run_many(p, PARAMS[mode], keys) for p in (problem, double))
        assert other.value.dtype == jnp.float64
        np.testing.assert_array_equal(one.trace.matched, other.trace.matched)


def test_hard_instance_at_a_thousand_nodes():
    """The ratio that rho bounds, from the rates that are really used, and by simulation."""
    for rescaling, ratio in ((rates.EDGE, 0.679082), (rates.VERTEX, 0.649090)):
        with jax.enable_x64(True):
            problem, x = problems.hard_edge(1000, 0.724, 1e-7, jnp.float64)
            rounded = rounding.from_allocation(problem, x, rescaling)
            fresh = 1 - np.asarray(rounded.rates)[-1, -2]
            free = np.asarray(rates.survival(x, rescaling))[:-1, -3]
            np.testing.assert_allclose(np.asarray(rounded.rates)[:-1, -2], 1, atol=1e-12)
            product = 1 - fresh * np.prod(1 - free)
            formula = bounds.hard_edge_ratio(1000, 0.724, rescaling.eps, rescaling.delta)
            np.testing.assert_allclose(product, formula, atol=1e-9)
            np.testing.assert_allclose(product, ratio, atol=1e-6)
            rounded = single_precision(rounded)
        values = simulation.simulate(rounded, prng.replicate_keys(prng.root_key(7), 5000)).value
        assert_mean(values, ratio, 2)


def test_one_uniform_serves_four_steps_and_no_two_draws_repeat():
    words = draws.discard_words(draws.key_words(prng.root_key(8)), 5, jnp.arange(1000, dtype=jnp.uint32))
    places = [draws.half_word(jnp.int32(part)) for part in range(4)]
    uniforms = np.stack([draws.discard_uniforms(words[int(w)], begin, jnp.uint32(0)) for w, begin in places])
    # 4,000 draws of 16 bits: about 122 collide, with a standard deviation of 11.
    assert len(np.unique(uniforms)) > 3800
    correlation = np.corrcoef(uniforms)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 5.3 / np.sqrt(1000)  # six comparisons, 1e-6 in all
    shared = draws.discard_uniforms(words[0], jnp.uint32(0), jnp.uint32(255))
    np.testing.assert_allclose(shared - uniforms[0], 255 * 2.0**-24, atol=1e-9)


def test_next_fit_packing():
    label, offset = rounding.bins(jnp.asarray([0.5, 0.6, 0.4, 0.9, 0.0, 0.3, 0.2], jnp.float32), 0.7)
    np.testing.assert_array_equal(label, [0, 1, 1, 3, 4, 5, 5])
    np.testing.assert_allclose(offset, [0, 0, 0.6, 0, 0, 0, 0.3], atol=1e-7)


def test_what_is_refused():
    good = crowded(15)
    key = prng.root_key(0)
    negative, above = good.rates.at[1, 2].set(-0.5), good.rates.at[3, 0].set(1.5)
    cases = [
        (dataclasses.replace(good, rates=negative), r"rates must lie in \[0, 1\], got -0.5 at index \(1, 2\)"),
        (dataclasses.replace(good, rates=above), r"rates must lie in \[0, 1\], got 1.5 at index \(3, 0\)"),
        (dataclasses.replace(good, rates=good.rates[:, :3]), "rates must have shape"),
        (dataclasses.replace(good, weights=good.weights.at[0, 1].set(-1)), r"weights .* at index \(0, 1\)"),
        (dataclasses.replace(good, weights=good.weights.at[0, 1].set(jnp.nan)), r"weights .* nan at index \(0, 1\)"),
        (dataclasses.replace(good, arrivals=good.arrivals.at[2].set(1.5)), r"arrivals .* 1.5 at index 2"),
        (dataclasses.replace(good, arrivals=good.arrivals[:3]), "weights and arrivals must have shapes"),
    ]
    for problem, message in cases:
        with pytest.raises(ValueError, match=message):
            rounding.run(problem, Params(), key)
        with pytest.raises(ValueError, match=message):
            simulation.simulate(problem, prng.replicate_keys(key, 2))
    for kwargs, message in [
        ({"mode": "best"}, "Params.mode must be one of 'closed_form', .*, got 'best'"),
        ({"mode": "bins"}, "Params.theta must be given with mode 'bins', .*, got None"),
        ({"theta": 0.5}, "Params.theta must be given with mode 'bins', .*, got 0.5"),
        ({"mode": "bins", "theta": 1.5}, r"Params.theta must lie in \[0, 1\], got 1.5"),
        ({"mode": "bins", "theta": 0.0}, "Params.theta must be positive and finite, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Params(**kwargs)
    with pytest.raises(ValueError, match="mode must be one of"):
        simulation.simulate(good, prng.replicate_keys(key, 2), mode="pivotal")
    with pytest.raises(ValueError, match="Params.mode of a typed problem must be one of"):
        rounding.run(crowded(16, 2), PARAMS["pivotal"], key)
    with pytest.raises(ValueError, match="Params.num_steps must be <= 6, the times left, got 7"):
        rounding.run(good, Params(num_steps=7), key)
    with pytest.raises(ValueError, match="key must be given unless a state is"):
        rounding.run(good, Params())
    with pytest.raises(ValueError, match="key must be of kind threefry2x32, got rbg"):
        rounding.run(good, Params(), jax.random.key(0, impl="rbg"))


def test_a_feasible_solution_becomes_a_problem(x64):
    problem, x = worked_examples.two_by_four()
    rounded = rounding.from_allocation(problem, x, rates.EDGE)
    np.testing.assert_array_equal(rounded.rates, rates.proposal_rates(problem, x, rates.EDGE))
    batch, _, _ = random_instances.batch(0, 2, 3, 4)
    assert batch.rates.shape == (2, 3, 4)
