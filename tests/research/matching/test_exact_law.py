"""The exact law: worked laws and values; survival 1 - h(y), negative dependence and the ratio on random instances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_instances
import worked_examples

from research.matching import exact_law, oracles, oracles_exact, policies, problems, rates, rounding
from research.matching.rounding import Params

MARGINAL = {
    "closed_form": Params(mode="closed_form"),
    "pivotal": Params(mode="pivotal"),
    "independent": Params(mode="independent"),
    "bins": Params(mode="bins", theta=0.5726),
}


#: One compilation for each mode and shape: tests share shapes where they can.
laws = jax.jit(jax.vmap(exact_law.law, (0, None)))
values_to_go = jax.jit(jax.vmap(exact_law.values_to_go, (0, None)))
COUNT, NODES, STEPS = 200, 5, 6


WORKED_VALUES = [
    ("two_by_four", rates.VERTEX, {"pivotal": 5.283880952381, "closed_form": 5.284350998464, "independent": 4.61}),
    ("two_by_four", rates.EDGE, {"pivotal": 5.091900827516, "closed_form": 5.091900827516, "independent": 4.45132075}),
    ("two_that_collide", rates.VERTEX, {"pivotal": 1.79, "closed_form": 1.79}),
    ("three_that_collide", rates.VERTEX, {"pivotal": 1.545, "closed_form": 1.5475, "independent": 1.498111111111}),
    ("two_types", rates.VERTEX, {"closed_form": 3.461858974359}),
    ("two_types", rates.EDGE, {"closed_form": 3.165989232}),
]


def padded(rounded, num_nodes, num_steps):
    """With nodes that never propose, last, and times at which nobody arrives: no other node takes notice."""
    nodes, steps = num_nodes - rounded.weights.shape[0], num_steps - rounded.arrivals.shape[0]
    pad = lambda leaf, *widths: jnp.pad(leaf, [(0, width) for width in widths] + [(0, 0)] * (leaf.ndim - len(widths)))  # noqa: E731
    return rounding.Problem(
        pad(rounded.weights, nodes, steps), pad(rounded.arrivals, steps), pad(rounded.rates, nodes, steps)
    )


@functools.cache
def worked_laws(mode):
    """Of every worked example at once: one compilation for each mode, and one for types."""
    typed = mode == "typed"
    cases = list(
        dict.fromkeys((name, rescaling) for name, rescaling, _ in WORKED_VALUES if (name == "two_types") == typed)
    )
    made = [rounding.from_allocation(*getattr(worked_examples, name)(), rescaling) for name, rescaling in cases]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one if typed else padded(one, 3, 5) for one in made))
    found = laws(batch, Params(mode="closed_form" if typed else mode))
    return {case: jax.tree.map(lambda leaf, k=k: leaf[k], found) for k, case in enumerate(cases)}


def worked_law(name, rescaling, mode):
    return worked_laws("typed" if name == "two_types" else mode)[name, rescaling]


@pytest.mark.parametrize(("name", "rescaling", "values"), WORKED_VALUES)
def test_worked_values(name, rescaling, values, x64):
    for mode, value in values.items():
        np.testing.assert_allclose(worked_law(name, rescaling, mode).value, value, atol=1e-9)


WORKED_LAWS = [
    ("two_by_four", "pivotal", -1, [0.6156547619, 0.1843452381, 0.1843452381, 0.0156547619]),
    ("two_by_four", "closed_form", -1, [0.6147465438, 0.1852534562, 0.1852534562, 0.0147465438]),
    ("two_by_four", "independent", -1, [0.64, 0.16, 0.16, 0.04]),
    ("two_that_collide", "pivotal", 3, [0.36, 0.24, 0.24, 0.16]),
    ("three_that_collide", "pivotal", 4, [0.32, 0.16, 0.16, 0.06, 0.16, 0.06, 0.06, 0.02]),
    ("three_that_collide", "closed_form", 4, [0.3175, 0.165, 0.165, 0.0525, 0.1575, 0.06, 0.06, 0.0225]),
    ("two_types", "closed_form", -1, [0.344032461, 0.305967539, 0.305967539, 0.044032461]),
]


@pytest.mark.parametrize(("name", "mode", "time", "law"), WORKED_LAWS)
def test_worked_laws(name, mode, time, law, x64):
    free = worked_law(name, rates.VERTEX, mode).free[time]
    everybody_else = len(free) - len(law)  # of the sets without a padded node none has positive probability
    np.testing.assert_allclose(free, np.pad(law, (everybody_else, 0)), atol=1e-9)


def test_hard_edge_worked_values(x64):
    made, values = [], []
    for poisson, plain, scaled in ((0.724, 0.686489172703, 0.726522437362), (1.0, 0.706203703704, 0.779039703704)):
        problem, x = problems.hard_edge(3, poisson, 1e-3, jnp.float64)
        made += [rounding.from_allocation(problem, x, rescaling) for rescaling in (rates.VERTEX, rates.EDGE)]
        values += [plain, scaled]
    found = laws(jax.tree.map(lambda *leaves: jnp.stack(leaves), *made), Params())
    np.testing.assert_allclose(found.value, values, atol=1e-9)


def test_discarding_together_with_the_match_is_not_negatively_dependent(x64):
    """The rule that suggests itself, everybody or nobody leaves: P[both free] = .2 where the marginals are .4."""
    rounded = rounding.from_allocation(*worked_examples.two_that_collide(), rates.VERTEX)
    naive, _ = oracles_exact.rounding_law(rounded.weights, rounded.arrivals, rounded.rates, "naive")
    np.testing.assert_allclose(naive[3], [0.4, 0.2, 0.2, 0.2], atol=1e-12)
    both_free, _ = exact_law.dependence_slack(jnp.asarray(naive[3]))
    np.testing.assert_allclose(both_free, 0.2 - 0.4**2, atol=1e-12)


@pytest.mark.parametrize("rescaling", [rates.EDGE, rates.VERTEX], ids=["edge", "vertex"])
@pytest.mark.parametrize("mode", MARGINAL)
def test_survival_is_exact_and_free_nodes_are_negatively_dependent(mode, rescaling, x64):
    """On 200 instances of five nodes: P[i free before t] = 1 - h(y_it), both forms of dependence."""
    batch, x, _ = random_instances.batch(0, COUNT, NODES, STEPS, rescaling=rescaling)
    law = laws(batch, MARGINAL[mode])
    expected = jax.vmap(lambda x: rates.survival(x, rescaling))(x)
    np.testing.assert_allclose(jnp.swapaxes(exact_law.survival(law.free), 1, 2), expected, atol=1e-9)
    for slack in exact_law.dependence_slack(law.free):
        assert np.asarray(slack).max() <= 1e-9
    used = np.asarray(expected[..., :-1] - expected[..., 1:])
    assert np.all(np.asarray(law.matched) <= used + 1e-12)
    assert np.all(np.asarray(law.matched.sum(1)) <= np.asarray(batch.arrivals) + 1e-12)


@pytest.mark.parametrize("num_types", [2, 3])
def test_typed_survival_is_exact_and_negatively_dependent(num_types, x64):
    batch, x, _ = random_instances.batch(num_types, 100, 4, 5, num_types)
    law = laws(batch, Params())
    expected = jax.vmap(lambda x: rates.survival(x, rates.EDGE))(x)
    np.testing.assert_allclose(jnp.swapaxes(exact_law.survival(law.free), 1, 2), expected, atol=1e-9)
    for slack in exact_law.dependence_slack(law.free):
        assert np.asarray(slack).max() <= 1e-9


@pytest.mark.parametrize(("mode", "num_types"), [("pivotal", 0), ("closed_form", 0), ("closed_form", 2)])
def test_law_agrees_with_enumeration_outcome_by_outcome(mode, num_types, x64):
    batch, _, _ = random_instances.batch(7, 6, 3, 4, num_types)
    law = laws(batch, Params(mode=mode))
    for index in range(6):
        one = random_instances.lane(batch, index)
        free, value = oracles_exact.rounding_law(one.weights, one.arrivals, one.rates, mode)
        np.testing.assert_allclose(law.free[index], free, atol=1e-12)
        np.testing.assert_allclose(law.value[index], value, atol=1e-12)


def test_one_type_is_the_bernoulli_problem(x64):
    """Two ways to the same law: nodes leaving one after the other, and leaving sets."""
    batch, _, _ = random_instances.batch(8, 20, 4, 6)
    typed = jax.tree.map(lambda leaf: leaf[..., None], batch)
    one, other = laws(batch, Params()), laws(typed, Params())
    np.testing.assert_allclose(one.free, other.free, atol=1e-13)
    np.testing.assert_allclose(one.matched, other.matched[..., 0], atol=1e-13)


def test_scaled_rounding_keeps_its_share_of_any_feasible_solution(x64):
    """1,000 instances: value >= 0.678 <w, x>, unscaled >= (1 - 1/e) <w, x>; bins with their parameters 0.652."""
    promises = [
        (rates.EDGE, Params(), 0.678),
        (rates.VERTEX, Params(), 1 - 1 / np.e),
        (rates.NSW, MARGINAL["bins"], 0.652),
        (rates.VERTEX, MARGINAL["independent"], 1 - 1 / np.e),
    ]
    for rescaling, params, share in promises:
        for seed in range(100, 105):
            batch, _, planned = random_instances.batch(seed, COUNT, NODES, STEPS, rescaling=rescaling)
            ratio = np.asarray(laws(batch, params).value) / np.asarray(planned)
            assert ratio.min() >= share, (params.mode, ratio.min())


def test_scaled_rounding_against_the_solved_relaxation(x64):
    """With x from the LP solver the same is a ratio against LP-OnOpt."""
    made, optima = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        weights, arrivals = rng.random((4, 6)) ** rng.choice([1, 4]), rng.random(6) ** 0.5
        problem = problems.from_arrays(worked_examples.double(weights), worked_examples.double(arrivals))
        solved = oracles.online_lp(problem)
        x = worked_examples.double(np.clip(solved.x, 0, None))
        made.append(rounding.from_allocation(problem, x))
        optima.append(solved.value)
    found = laws(jax.tree.map(lambda *leaves: jnp.stack(leaves), *made), Params())
    assert (np.asarray(found.value) >= 0.678 * np.array(optima)).all()


@pytest.mark.parametrize("num_types", [0, 2])
def test_half_of_the_plan_is_matched_exactly(num_types, x64):
    batch, x, _ = random_instances.batch(10, 30, 3, 5, num_types)
    offers = jax.vmap(lambda w, p, x: rates.half_rates(problems.Problem(w, p), x))(batch.weights, batch.arrivals, x)
    single = rounding.Problem(batch.weights, batch.arrivals, offers)
    np.testing.assert_allclose(laws(single, Params(mode="single")).matched, x / 2, atol=1e-13)


@pytest.mark.parametrize("mode", ["closed_form", "pivotal"])
def test_values_to_go_start_at_the_value_and_restart_the_process(mode, x64):
    """U_1 of each set, weighted by the law after one time, is what is earned from time 1 on."""
    batch, _, _ = random_instances.batch(11, COUNT, NODES, STEPS)
    law, values = laws(batch, MARGINAL[mode]), values_to_go(batch, MARGINAL[mode])
    np.testing.assert_allclose(values[:, 0, -1], law.value, atol=1e-12)
    later = jnp.sum(law.matched[..., 1:] * batch.weights[..., 1:], axis=(1, 2))
    np.testing.assert_allclose(jnp.sum(law.free[:, 1] * values[:, 1], axis=1), later, atol=1e-12)


def test_derivatives_are_those_of_finite_differences(x64):
    rounded = random_instances.lane(random_instances.batch(13, 1, 3, 5)[0], 0)
    interior = rounding.Problem(rounded.weights, rounded.arrivals, 0.9 * rounded.rates + 0.03)
    for mode in ("closed_form", "pivotal"):

        def value(r, mode=mode):
            return exact_law.law(rounding.Problem(interior.weights, interior.arrivals, r), Params(mode=mode)).value

        value = jax.jit(value)
        slopes = jax.jit(jax.grad(value))(interior.rates)
        direction = jnp.asarray(np.random.default_rng(0).normal(size=interior.rates.shape))
        step = 1e-6
        difference = (value(interior.rates + step * direction) - value(interior.rates - step * direction)) / (2 * step)
        np.testing.assert_allclose(jnp.sum(slopes * direction), difference, rtol=1e-6)


def test_a_policy_given_as_a_table(x64):
    problem, _ = worked_examples.two_by_four()
    sold = policies.greedy(problem)
    law = exact_law.law_of_choices(rounding.Problem(*sold_arrays(sold)), policies.choices(sold))
    np.testing.assert_allclose(law.value, 6.61, atol=1e-9)
    np.testing.assert_allclose(law.free.sum(1), 1, atol=1e-14)


def sold_arrays(sold):
    return sold.weights, sold.arrivals, jnp.zeros_like(sold.weights)


def test_twelve_nodes_at_most():
    weights = jnp.ones((13, 2))
    with pytest.raises(ValueError, match="number of offline nodes must be <= 12 .*, got 13"):
        exact_law.law(rounding.Problem(weights, jnp.ones(2), weights))
