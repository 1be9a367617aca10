"""Choices of r and b: formulas against closed forms, the search against enumeration, and a pilot that runs."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from research.mlmc import bounds, read, second_moments, tuner
from research.mlmc.walks import walk

SEED = (1, 2)
CAPS = {"A1": 2.0, "A2": 2.0, "A3": 2.0, "A4": 1.5}
MANY = np.full(31, 1e6)


def exact_levels(name, base=0, length=20):
    """Counts, means and mean squares of a pilot that knows everything about the first levels."""
    problem, n = walk(name, jnp.float64), np.arange(length)
    found = (second_moments.level_means, second_moments.level_second_moments)
    mean, square = (f(problem, n, base) for f in found)
    return MANY[:length], mean, square, 10 * square**2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CAPS)
def test_the_formula_finds_the_exact_optimum(name):
    for base in (0, 2):
        levels = tuner.fit_levels(*exact_levels(name, base), CAPS[name])
        assert levels.rate <= CAPS[name]
        rate, product = levels.best(bounds.variance_limit(CAPS[name]) - 1e-4)
        expected = second_moments.best_rate(walk(name, jnp.float64), base)
        assert math.isclose(rate, expected[0], abs_tol=2e-3)
        assert math.isclose(product * 2**base, expected[1], rel_tol=2e-3)
        for r in (0.55, 0.6, 0.63):
            exact = second_moments.single_variance(walk(name, jnp.float64), r, base)
            assert math.isclose(levels.variance(r), exact, rel_tol=2e-3)


def test_rates_without_the_prefactor():
    assert round(tuner.rate_without_prefactor(2.0), 3) == 0.646
    assert round(tuner.rate_without_prefactor(1.5), 3) == 0.58
    # With second moments that fall from level 0 on, the formula has its optimum there.
    for beta in (1.5, 2.0):
        levels = tuner.Levels(2.0 ** (-beta * np.arange(20)), beta, beta, 0.0)
        assert math.isclose(levels.best(1 - 2.0**-beta - 1e-6)[0], tuner.rate_without_prefactor(beta), abs_tol=1e-5)


def test_a_rate_beyond_the_class_is_not_believed():
    squares = 2.0 ** (-3.0 * np.arange(10))
    levels = tuner.fit_levels(MANY[:10], np.zeros(10), squares, 3 * squares**2, 2.0)
    assert math.isclose(levels.fitted, 3, rel_tol=1e-9)
    assert levels.rate == 2
    assert levels.variance(0.75) == math.inf
    # The tail above the last measured level falls as the class says: more variance than the pilot's own rate gives.
    trusted = tuner.fit_levels(MANY[:10], np.zeros(10), squares, 3 * squares**2, 9.0)
    assert levels.variance(0.74) > trusted.variance(0.74)


def test_a_rate_below_the_class_needs_evidence():
    # The same slope of 1.8: noise where visits are few or the kurtosis is high, a finding where they are many.
    squares = 2.0 ** (-1.8 * np.arange(8))
    for count, kurtosis, expected in ((1e6, 3, 1.8), (64, 3, 2.0), (1e4, 3e3, 2.0)):
        levels = tuner.fit_levels(np.full(8, count), np.zeros(8), squares, kurtosis * squares**2, 2.0)
        assert math.isclose(levels.fitted, 1.8, rel_tol=1e-9)
        assert math.isclose(levels.rate, expected, rel_tol=1e-9)


def test_pilots_that_say_too_little():
    squares = 2.0 ** (-2.0 * np.arange(10))
    with pytest.raises(ValueError, match="count must show levels 0, 1 and 2 at least 64 times each"):
        tuner.fit_levels(np.array([1e4, 1e3, 63, 9]), np.zeros(4), squares[:4], squares[:4] ** 2, 2.0)
    with pytest.raises(ValueError, match="beta must exceed 1 for finite variance at finite cost"):
        tuner.fit_levels(MANY[:10], np.zeros(10), squares**0.25, squares**0.5, 2.0)
    linear = tuner.fit_levels(
        MANY[:10], np.zeros(10), np.eye(1, 10)[0], np.eye(1, 10)[0], 2.0
    )  # no differences: the link is affine
    assert math.isnan(linear.fitted)
    assert linear.variance(0.9) == 1 / 0.9
    assert math.isclose(linear.best(0.9)[0], 0.9, abs_tol=1e-4)


def test_largest_rate_is_on_the_edge_of_the_admissible_set():
    for name, depths in itertools.product(("E1", "B2", "C1", "C2"), ((0,), None)):
        problem = walk(name)
        depths = range(problem.depth) if depths is None else depths
        start = (0.52,) * problem.depth
        rate = tuner.largest_rate(problem, start, depths, 2.2)
        at = [rate if d in depths else start[d] for d in range(problem.depth)]
        beyond = [r + 1e-4 * (d in depths) for d, r in enumerate(at)]
        assert bounds.moment_profile(problem, at)[0] >= 2.2 > bounds.moment_profile(problem, beyond)[0]
    assert tuner.largest_rate(walk("A1"), (0.5,), (0,), 2.2, 0.6) == 0.6
    with pytest.raises(ValueError, match=r"moments must be at most 1.5 for links \('discontinuous',\)"):
        tuner.largest_rate(walk("A5"), (0.5,), (0,), 2.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moments": 2.0}, "moments must be > 2, where the variance is finite, got 2.0"),
        ({"groups": 4}, "groups must be >= 8, got 4"),
        ({"estimators": ("best",)}, "estimators must be one of 'single', 'coupled', 'block', got 'best'"),
    ],
)
def test_bad_searches(changes, message):
    with pytest.raises(ValueError, match=message):
        tuner.tune(walk("A1"), SEED, **changes)


# ---- The search, on pilots made of closed forms ----------------------------------------------------------------------


def stand_in(monkeypatch, moments):
    """`read.level_statistics` from a function (r, b) -> (mean, mean square) of depth 0; returns what was asked for."""
    asked = []

    def statistics(problem, params, seed, ids):
        asked.append((params.r, params.b, tuple(ids[:1])))
        mean, square = moments(params.r, params.b)
        rows = {"count": MANY[: len(mean)], "mean": mean, "mean_square": square, "mean_fourth": 10 * square**2}
        rows["largest"] = 5 * np.sqrt(square)
        return {name: np.tile(np.pad(row, (0, 31 - len(row))), (problem.depth, 1)) for name, row in rows.items()}

    monkeypatch.setattr(read, "level_statistics", statistics)
    return asked


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["A1", "A2", "A3", "A4"])
def test_the_best_base_exponent_at_depth_one(name, monkeypatch):
    asked = stand_in(monkeypatch, lambda r, b: exact_levels(name, b[0])[1:3])
    found = tuner.tune(walk(name, jnp.float64), SEED, groups=8, group=64)
    exact = {base: second_moments.best_rate(walk(name, jnp.float64), base) for base in range(4)}
    # Moments p_0 >= 2.2 may forbid the very best r.
    allowed = tuner.largest_rate(walk(name), (0.6,), (0,), 2.2)
    base = min(exact, key=lambda base: exact[base][1])
    assert math.isclose(found.certificate.work_normalised_variance.mean, exact[base][1], rel_tol=0.02)
    assert found.r[0] <= allowed + 1e-9
    assert found.certificate.profile[0] >= 2.2 - 1e-9
    assert math.isclose(found.certificate.leaves, bounds.expected_leaves(found.r, found.b))
    assert {ids for _, _, ids in asked} == {(64 * g,) for g in range(8)}, "all candidates see the same replicates"
    assert found.certificate.remark == "heavy-tailed: fourth moment infinite"
    assert found.params(block=512) == read.Params(r=found.r, b=found.b, block=512)


@pytest.mark.usefixtures("x64")
def test_coordinates_lead_to_the_best_of_the_grid(monkeypatch):
    # Two depths with a surrogate in which every coordinate matters and none conflicts: compared with enumeration.
    def moments(r, b):
        spread = 1.5 + 1 / 2 ** b[0] + 1 / (2 ** b[1] * (0.61 - min(r[1], 0.605)))
        n = np.arange(12)
        return np.where(n == 0, 0.5, 0.0), spread * 4.0**-n * np.where(n == 0, 1.0, 4.0 ** -b[0])

    rates = (0.54, 0.56, 0.58)
    stand_in(monkeypatch, moments)
    problem = walk("E1", jnp.float64)
    found = tuner.tune(problem, SEED, groups=8, group=64, inner_rates=rates)
    best = math.inf
    for tail, *b in itertools.product((*rates, 0.6), range(4), range(4)):
        upper = tuner.largest_rate(problem, (0.6, tail), (0,), 2.2)
        mean, square = moments((0.6, tail), b)
        levels = tuner.fit_levels(MANY[:12], mean, square, 10 * square**2, 2.0)
        best = min(best, levels.best(upper)[1] * 2.0 ** b[0] * bounds.expected_leaves((tail,), (b[1],)))
    assert math.isclose(found.certificate.work_normalised_variance.mean, best, rel_tol=1e-6)
    assert len(found.certificate.tried) < 4 * 4 * 4
    assert found.certificate.profile == bounds.moment_profile(problem, found.r)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("deviations", "expected"), [((1.0, 0.8, 0.7), "block"), ((1.0, 1.0, 1.2), "single")])
def test_estimators_are_compared_on_the_same_replicates(deviations, expected, monkeypatch):
    asked, spread = [], dict(zip(read.ESTIMATORS, deviations, strict=True))
    stand_in(monkeypatch, lambda r, b: exact_levels("A1", b[0])[1:3])

    def replicates(problem, params, seed, ids):
        asked.append((params.r, params.estimator, tuple(ids)))
        values = spread[params.estimator] * np.random.default_rng(ids).standard_normal(len(ids))
        return read.Replicates(values, np.ones(len(ids), int), np.asarray(False))

    monkeypatch.setattr(read, "replicates", replicates)
    problem = walk("A1", jnp.float64)
    found = tuner.tune(problem, SEED, groups=8, group=64, bases=(0,), estimators=read.ESTIMATORS)
    rate, least = second_moments.best_rate(problem)
    assert found.estimator == expected
    assert len({ids for _, _, ids in asked}) == 1
    assert all(r[0] > 0.5 and bounds.moment_profile(problem, r)[0] >= 2.2 - 1e-9 for r, _, _ in asked)
    ratio = (spread[expected] / spread["single"]) ** 2
    assert math.isclose(found.certificate.work_normalised_variance.mean, ratio * least, rel_tol=5e-3)
    assert math.isclose(found.r[0], rate, abs_tol=5e-3)  # the ratio is the same at every r, so that r stays
    for (name, _), value in found.certificate.ratios.items():
        assert math.isclose(value, spread[name] ** 2, rel_tol=1e-9)


# ---- A pilot that runs -----------------------------------------------------------------------------------------------


def test_a_pilot_of_the_square():
    found = tuner.tune(walk("A1"), SEED, groups=8, group=2048, bases=(1,))
    exact = second_moments.best_rate(walk("A1"), 1)[1]
    interval = found.certificate.work_normalised_variance
    assert interval.low < exact < interval.high
    assert interval.kind == "jackknife"
    # The exact variance at the chosen r is near the best there is.
    assert second_moments.work_normalised_variance(walk("A1"), found.r[0], 1) < 1.03 * exact
    assert found.certificate.pilot["count"][0, :3].min() > 64
    # Every replicate has 2 leaves or more, 6 on average at r = 0.6.
    assert 4 * 8 * 2048 < found.certificate.pilot_leaves < 9 * 8 * 2048
    assert (found.b, found.estimator) == ((1,), "single")


@pytest.mark.slow
def test_base_exponents_help_a_square_outside():
    # Measured: 66 at b = 0 and 16.5 at b = (3, 0), with r = (0.683, 0.592).
    found = tuner.tune(walk("B2"), SEED, inner_rates=(0.56, 0.6))
    assert found.certificate.work_normalised_variance.mean < 27
    assert found.certificate.tried[found.r[1:], (0, 0)] > 1.5 * found.certificate.work_normalised_variance.mean


@pytest.mark.slow
def test_averages_over_blocks_beat_single_terms():
    found = tuner.tune(walk("A1"), SEED, bases=(0,), estimators=read.ESTIMATORS)
    assert found.estimator == "block"
    assert found.certificate.work_normalised_variance.mean < 0.75 * second_moments.best_rate(walk("A1"))[1]
