"""Fixed levels: samples have the moments they should, the driver keeps its promises, the report sees what is wrong."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.core import prng
from research.core.status import Status
from research.mlmc import bounds, level_report, level_samples, moments, multilevel, second_moments, walks
from research.mlmc.moments import CentralMoments

RUNS, TOP = 64, 7


# ---- Samples of levels -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinked():
    """Samples of levels 0 to 5 of A4: 16,000 at once, and the same in two portions."""
    problem, seed = walks.walk("A4"), jax.random.key_data(prng.root_key(5))
    add = jax.jit(lambda so_far, wanted: level_samples.add(problem, seed, so_far, wanted))
    start = level_samples.start(problem, 5)
    whole = add(start, jnp.full(6, 16_000))
    return problem, whole, add(add(start, jnp.full(6, 9_999)), jnp.full(6, 6_001))


def test_differences_have_the_known_moments(kinked):
    """Means and second moments in closed form, 12 of them: 6 standard errors, 2e-9 each by a normal law. Those of the
    squares come from fourth moments, of kurtosis up to 60, so that they are asked for ten.
    """
    problem, whole, _ = kinked
    count = np.asarray(whole.count, np.float64)
    mean, variance = np.asarray(whole.mean, np.float64), np.asarray(whole.second, np.float64) / count
    off = mean[:, 0] - second_moments.level_means(problem, range(6))
    assert np.abs(off / np.sqrt(variance[:, 0] / count[:, 0])).max() < 6
    squares = variance[:, 0] + mean[:, 0] ** 2
    exact = second_moments.level_second_moments(problem, range(6))
    spread = np.sqrt(np.asarray(moments.kurtosis(whole), np.float64)[:, 0] / count[:, 0])
    assert np.abs((squares / exact - 1) / spread).max() < 10


def test_levels_telescope(kinked):
    """E Delta_l + E P_{l-1} = E P_l, by the report's own check."""
    _, whole, _ = kinked
    found = level_report.report(whole)
    assert found.consistency[0] == 0
    assert found.consistency.max() < 1
    assert found.concerns == ()
    assert found.cost_rate == pytest.approx(1)
    assert found.variance_rate == pytest.approx(bounds.VARIANCE_RATES["kink"], abs=0.25)


def test_portions_change_nothing(kinked):
    _, whole, portions = kinked
    np.testing.assert_array_equal(whole.count, portions.count)
    np.testing.assert_allclose(portions.mean, whole.mean, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(portions.second, whole.second, rtol=2e-4)


# ---- The driver ------------------------------------------------------------------------------------------------------


def asked(tolerance=0.02, **fields):
    return multilevel.Params(**{"tolerance": tolerance, "num_steps": 4, "max_level": TOP} | fields)


@pytest.fixture(scope="module")
def driver():
    """Four further rounds of 64 runs, compiled once; `states` starts them."""
    problem = walks.walk("A3")
    go = jax.jit(lambda problem, params, states: jax.vmap(lambda s: multilevel.run(problem, params, state=s))(states))
    keys = prng.replicate_keys(prng.root_key(7), RUNS)
    states = jax.vmap(lambda key: multilevel.init(problem, asked(), key))(keys)
    return problem, go, states


@pytest.fixture(scope="module")
def finished(driver):
    problem, go, states = driver
    results = [go(problem, asked(), states)]
    while (np.asarray(results[-1].status) == Status.BUDGET).any():
        assert len(results) < 16
        results.append(go(problem, asked(), results[-1].state))
    return results


def test_every_run_keeps_its_allocation_and_its_remainder(finished):
    """What the stopping rule says, with the samples that the result holds."""
    last, eps = finished[-1], 0.02
    assert (np.asarray(last.status) == Status.CONVERGED).all()
    assert (np.asarray(last.standard_error) ** 2 <= 0.75 * eps**2 * (1 + 1e-5)).all()
    assert (np.asarray(last.remainder) <= 0.5 * eps * (1 + 1e-6)).all()
    count = np.asarray(last.state.samples.count[..., 0])
    assert (np.asarray(last.state.wanted) == 0).all()
    assert (count.astype(bool).sum(axis=1) == np.asarray(last.state.finest) + 1).all()
    assert (count[:, :3] >= 1000).all()
    np.testing.assert_allclose(last.leaves, count @ 2.0 ** np.arange(TOP + 1), rtol=1e-6)


def test_the_root_mean_squared_error_is_the_tolerance(driver, finished):
    """At most 1.1 of it, by the published kind of margin; 64 squares of normal errors exceed their mean by a factor of
    `excess` with probability 1e-7.
    """
    errors = (np.asarray(finished[-1].value, np.float64) - driver[0].exact) / 0.02
    excess = stats.chi2.isf(1e-7, RUNS) / RUNS
    assert (errors**2).mean() <= 1.1**2 * excess
    assert (errors**2).mean() >= 0.3


def test_rounds_are_reported_as_not_enough(finished):
    first = finished[0]
    lane = int(np.argmax(np.asarray(first.status) == Status.BUDGET))
    assert int(first.status[lane]) == Status.BUDGET
    with pytest.raises(RuntimeError, match=r"Params\.num_steps must allow more rounds, got 4\."):
        multilevel.check(asked(), jax.tree.map(lambda leaf: leaf[lane], first))
    multilevel.check(asked(), jax.tree.map(lambda leaf: leaf[0], finished[-1]))


def test_a_bias_that_the_finest_level_cannot_remove_is_an_error(driver):
    problem, go, states = driver
    params = asked(0.2, bias_share=1e-6)
    result = go(problem, params, states)
    for _ in range(4):
        result = go(problem, params, result.state)
    # Of a tolerance this coarse fine levels have a sample or two, and a few runs take their luck for a small bias.
    stuck = np.asarray(result.status) == Status.DIVERGED
    assert stuck.mean() > 0.7
    assert (np.asarray(result.state.finest)[stuck] == TOP).all()
    assert (np.asarray(result.status)[~stuck] == Status.CONVERGED).all()
    with pytest.raises(multilevel.WeakConvergenceError, match=r"Params\.max_level must be larger, got 7:"):
        multilevel.check(params, jax.tree.map(lambda leaf: leaf[np.argmax(stuck)], result))


def test_samples_that_are_not_finite_are_an_error(driver):
    problem, go, states = driver
    result = go(eqx.tree_at(lambda p: p.mean, problem, jnp.float32(np.nan)), asked(), states)
    assert (np.asarray(result.status) == Status.NONFINITE).all()
    with pytest.raises(FloatingPointError, match="samples must be finite"):
        multilevel.check(asked(), jax.tree.map(lambda leaf: leaf[0], result))


def test_more_samples_than_can_be_counted_are_an_error(driver):
    problem, go, states = driver
    result = go(problem, asked(1e-5), states)
    assert (np.asarray(result.status) == Status.DIVERGED).all()
    with pytest.raises(RuntimeError, match=r"at most 2\*\*30 samples of a level"):
        multilevel.check(asked(1e-5), jax.tree.map(lambda leaf: leaf[0], result))


def test_the_outcome_of_a_run(finished):
    one = jax.tree.map(lambda leaf: leaf[0], finished[-1])
    found = level_report.outcome(asked(), one)
    finest = len(found.samples) - 1
    assert found.leaves == multilevel.num_leaves(asked(), one.state) == sum(n << k for k, n in enumerate(found.samples))
    spread = float(one.state.samples.second[finest, 1]) / found.samples[-1]
    assert found.standard_leaves == pytest.approx(spread * 2**finest / (0.75 * 0.02**2), rel=1e-5)
    assert found.saving == pytest.approx(found.standard_leaves / found.leaves)


# ---- Theory ----------------------------------------------------------------------------------------------------------


def test_the_worked_allocation():
    found = multilevel.allocation([1.0, 0.25, 0.0625], [1.0, 2.0, 4.0], 0.1)
    np.testing.assert_array_equal(found, [295, 105, 37])


def test_the_allocation_meets_the_variance_at_least_cost(x64):
    """Of all allocations with that variance, by perturbing pairs of levels along the constraint."""
    variances, costs, eps = np.array([2.0, 0.3, 0.01]), np.array([1.0, 2.0, 4.0]), 0.003
    best = np.asarray(multilevel.allocation(variances, costs, eps))
    assert (variances / best).sum() <= 0.75 * eps**2
    cost = float(multilevel.least_cost(variances, costs, eps))
    assert cost <= best @ costs <= cost + costs.sum()
    for i, j in ((0, 1), (1, 2), (2, 0)):
        other = best.copy()
        other[i] *= 1.2
        other[j] = variances[j] / (variances[i] / best[i] + variances[j] / best[j] - variances[i] / other[i])
        assert other @ costs > best @ costs - costs.sum()


@pytest.mark.parametrize(("weak", "variance"), [(1.0, 2.0), (1.0, 1.5), (1.0, 0.5)])
def test_the_cost_bound_has_the_order_of_the_theorem(weak, variance):
    tolerances = np.array([1e-6, 1e-7, 1e-8])
    costs = [multilevel.cost_bound(eps, (1.0, weak), (1.0, variance))[1] for eps in tolerances]
    order, logs = bounds.deterministic_cost(weak, variance)
    assert logs == 0
    slope = -np.polyfit(np.log(tolerances), np.log(costs), 1)[0]
    assert slope == pytest.approx(order, abs=0.12)  # levels are whole numbers


def test_the_cost_bound_is_kept_by_a_method_with_its_constants():
    finest, bound = multilevel.cost_bound(0.01, (0.5, 1.0), (0.4, 2.0))
    assert 0.5 * 2.0**-finest <= 0.5 * 0.01 < 0.5 * 2.0 ** (1 - finest)
    costs = 2.0 ** np.arange(finest + 1)
    samples = np.asarray(multilevel.allocation(0.4 * 4.0 ** -np.arange(finest + 1), costs, 0.01), np.float64)
    assert samples @ costs <= bound * (1 + 1e-6)


# ---- The report ------------------------------------------------------------------------------------------------------


def _table(kurtosis=3.0, shift=0.0):
    """Levels whose means fall as 2**-l and variances as 4**-l, all with 10,000 samples but the last."""
    level, count = np.arange(6), np.array([10_000] * 5 + [0])
    fine = 1 - 2.0**-level
    mean = np.stack([np.append(fine[0], np.diff(fine)), fine + shift * (level == 3)], axis=1)
    second = np.stack([4.0**-level, np.ones(6)], axis=1) * count[:, None]
    fourth = kurtosis * second**2 / np.maximum(count[:, None], 1)
    return CentralMoments(np.stack([count, count], axis=1), mean, second, np.zeros((6, 2)), fourth)


def test_a_sound_report_has_rates_and_no_concerns():
    found = level_report.report(_table(), base=1)
    assert (found.weak_rate, found.variance_rate, found.cost_rate) == pytest.approx((1, 2, 1))
    assert found.concerns == ()
    np.testing.assert_allclose(found.kurtosis, 3)
    np.testing.assert_array_equal(found.cost, [2, 4, 8, 16, 32])
    np.testing.assert_allclose(found.consistency, 0, atol=1e-9)


def test_what_is_wrong_is_named():
    heavy = level_report.report(_table(kurtosis=150.0)).concerns
    assert [(one.kind, one.level) for one in heavy] == [("kurtosis", 4)]
    assert str(heavy[0]) == "kurtosis 150 on the finest level, 4: its variance has a large error"
    # Level 3 is off by 0.2: it fits neither the level below nor the one above.
    off = level_report.report(_table(shift=0.2)).concerns
    assert [(one.kind, one.level) for one in off] == [("consistency", 3), ("consistency", 4)]
    error = (2.0**-3 + 1 + 1) / 100
    assert off[0].value == pytest.approx(0.2 / (3 * error), rel=1e-3)
    assert "does not fit the levels" in str(off[0])


def test_a_report_needs_three_levels():
    few = jax.tree.map(lambda leaf: leaf[:2], _table())
    with pytest.raises(ValueError, match=r"samples must hold at least three levels, for rates, got 2 with samples\."):
        level_report.report(few)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tolerance": 0.0}, r"Params\.tolerance must be positive and finite, got 0\.0\."),
        ({"tolerance": math.nan}, r"Params\.tolerance must be positive and finite, got nan\."),
        ({"min_level": 1}, r"Params\.min_level must be >= 2, got 1\."),
        ({"min_level": 4, "max_level": 3}, r"Params\.max_level must be >= Params\.min_level, 4, got 3\."),
        ({"initial": 0}, r"Params\.initial must lie in \[1, .*\], got 0\."),
        ({"bias_share": 1.0}, r"Params\.bias_share must lie in \(0, 1\), got 1\.0\."),
        ({"num_steps": 0}, r"Params\.num_steps must be >= 1, got 0\."),
        ({"weak_rate": -1.0}, r"Params\.weak_rate must be positive and finite, got -1\.0\."),
    ],
)
def test_bad_parameters_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        asked(**fields)


def test_problems_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"problem\.depth must be 1 for fixed levels, got 2\."):
        multilevel.init(walks.walk("B2"), asked(), prng.root_key(0))
    with pytest.raises(ValueError, match=r"max_level must lie in \[0, 20\], got 30\."):
        multilevel.init(walks.walk("A1"), dataclasses.replace(asked(), base=10, max_level=30), prng.root_key(0))
