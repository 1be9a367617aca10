"""Limits of level parameters, moment profiles, what is refused, and orders of cost."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import optimize

from research.mlmc import bounds
from research.mlmc.walks import walk

#: Published or derived values, to the digits given there.
PROFILES = [
    (("smooth", "smooth"), (0.74, 0.60), (2.06, 4.11)),
    (("smooth", "smooth"), (0.65, 0.58), (2.94, 4.98)),
    (("smooth", "smooth"), (0.66, 0.70), (1.87, 2.36)),
    (("kink",) * 3, (0.6, 0.6, 0.6), (1.70, 1.92, 2.22)),
    (("kink",) * 3, (0.55, 0.55, 0.55), (2.16, 2.33, 2.53)),
    (("smooth",), (0.6,), (4.11,)),
    (("smooth",), (0.7,), (2.36,)),
    (("smooth",), (0.74,), (2.06,)),
    (("kink",), (0.64,), (2.03,)),
]


@dataclasses.dataclass
class Posed:
    """What `check_levels` reads of a problem."""

    smoothness: tuple
    leaf_moments: float = math.inf
    inner: str = "mean"

    @property
    def depth(self):
        return len(self.smoothness)


@pytest.mark.parametrize(("classes", "r", "expected"), PROFILES)
def test_profiles(classes, r, expected):
    np.testing.assert_allclose(bounds.moment_profile(classes, r), expected, atol=0.005)


def test_limits_of_the_theorem():
    np.testing.assert_allclose(bounds.smooth_limits(4), (0.75, 0.60315, 0.54714, 0.52258), atol=5e-6)
    for depth, limit in ((1, 0.5796), (2, 0.5393), (3, 0.5261)):
        np.testing.assert_allclose(bounds.lipschitz_limits(depth, 0.25), (limit,) * depth, atol=5e-5)
    assert bounds.smooth_limits(0) == bounds.lipschitz_limits(0, 0.1) == ()
    with pytest.raises(ValueError, match=r"excess must lie in \(0, 1/2\), got 0.5"):
        bounds.lipschitz_limits(2, 0.5)


@pytest.mark.parametrize("depth", range(1, 7))
def test_within_the_limits_the_children_have_the_moments_that_the_proof_uses(depth):
    # Theorem: 2**(d+1) moments at depth d, attained at the end of the interval with a leaf of 2**(D+1) moments.
    limits = bounds.smooth_limits(depth)
    profile = bounds.moment_profile(("smooth",) * depth, limits, 2.0 ** (depth + 1))
    np.testing.assert_allclose(profile, 2.0 ** (np.arange(depth) + 1), rtol=1e-12)
    inside = tuple(0.5 + 0.999 * (limit - 0.5) for limit in limits)
    assert all(p > 2 ** (d + 1) for d, p in enumerate(bounds.moment_profile(("smooth",) * depth, inside)))


@pytest.mark.parametrize("depth", range(1, 7))
def test_lipschitz_links_have_the_moment_of_the_theorem(depth):
    # The recursion is (p - 1)/p = (s - 1)/(s lambda), so the limits give exactly q, at every depth.
    for excess in (0.01, 0.1, 0.25, 0.4, 0.49):
        r = bounds.lipschitz_limits(depth, excess)
        found = bounds.moment_profile(("lipschitz",) * depth, r, 2.0)
        np.testing.assert_allclose(found[0], bounds.lipschitz_moment(excess), rtol=1e-12)
        assert found[0] < 2


def test_a_profile_falls_with_r_and_with_the_leaf():
    classes = ("smooth", "quadratic", "kink", "lipschitz", "discontinuous")
    for outer, inner in itertools.product(classes, classes):
        grid = np.linspace(0.51, 0.99, 25)
        by_outer = [bounds.moment_profile((outer, inner), (r, 0.6))[0] for r in grid]
        by_inner = [bounds.moment_profile((outer, inner), (0.6, r))[0] for r in grid]
        by_leaf = [bounds.moment_profile((outer, inner), (0.6, 0.6), moments)[0] for moments in (9, 4, 2, 1.5, 1)]
        for values in (by_outer, by_inner, by_leaf):
            assert (np.diff(values) <= 1e-12).all()


def test_finite_variance_is_the_condition_on_the_rate():
    # p_0 = 2 exactly where the series of second moments stops converging: 1 - r = 2**-beta.
    for word in ("smooth", "quadratic", "kink"):
        limit = bounds.variance_limit(bounds.VARIANCE_RATES[word])
        assert math.isclose(bounds.moment_profile((word,), (limit,))[0], 2, rel_tol=1e-12)


def test_cost_per_replicate():
    assert math.isclose(bounds.expected_leaves((0.74, 0.60)), 4.625)
    assert math.isclose(bounds.expected_leaves((0.74, 0.60), (2, 1)), 8 * 4.625)
    assert bounds.expected_leaves(()) == 1
    assert bounds.expected_leaves((0.5, 0.6)) == math.inf
    levels = np.arange(2000)
    for rate in (0.55, 0.6, 0.74):  # E 2**N, term by term
        direct = math.fsum(rate * np.exp(levels * math.log(2 * (1 - rate))))
        assert math.isclose(bounds.expected_leaves((rate,)), direct, rel_tol=1e-9)


def test_the_costliest_replicate():
    assert round(math.log2(bounds.largest_cost(1e6, 0.6))) == 15
    for rate in (0.55, 0.6, 0.74):
        leaves = bounds.largest_cost(1e6, rate)
        assert math.isclose((1 - rate) ** math.log2(leaves), 1e-6, rel_tol=1e-9)
        assert bounds.decay(rate) < 2


# ---- What is refused -------------------------------------------------------------------------------------------------

SMOOTH = Posed(("smooth", "smooth"))


@pytest.mark.parametrize(
    ("r", "b", "message"),
    [
        ((0.5, 0.6), None, r"r\[0\] must lie in \(1/2, 1\), got 0.5"),
        ((0.6, 1.0), None, r"r\[1\] must lie in \(1/2, 1\), got 1.0"),
        ((float("nan"), 0.6), None, r"r\[0\] must lie in \(1/2, 1\), got nan"),
        ((0.6,), None, r"r must have one entry for each of 2 depths, got \(0.6,\)"),
        (0.6, None, "r must be a tuple of numbers, one for each depth, got 0.6"),
        ((0.6, 0.6), (0,), r"b must have one entry for each of 2 depths, got \(0,\)"),
        ((0.6, 0.6), (0, -1), r"b\[1\] must be an integer in 0..20, got -1"),
        ((0.6, 0.6), (21, 0), r"b\[0\] must be an integer in 0..20, got 21"),
        ((0.6, 0.6), (0.5, 0), r"b\[0\] must be an integer in 0..20, got 0.5"),
    ],
)
def test_bad_levels(r, b, message):
    with pytest.raises(ValueError, match=message):
        bounds.check_levels(SMOOTH, r, b=b)


def test_good_levels_are_silent():
    assert bounds.check_levels(SMOOTH, (0.74, 0.60), b=(20, 0)) == bounds.moment_profile(SMOOTH, (0.74, 0.60))
    assert bounds.check_levels(Posed(()), ()) == ()


def test_a_low_profile_warns_or_is_refused():
    outside = (0.66, 0.70)
    with pytest.warns(bounds.HeavyTailWarning, match=r"below p_0 = 1.87 only, with r = \(0.66, 0.7\)"):
        bounds.check_levels(SMOOTH, outside)
    with pytest.raises(ValueError, match="p_0 > 2 where strict=True; the variance may be infinite"):
        bounds.check_levels(SMOOTH, outside, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bounds.check_levels(SMOOTH, outside, allow_infinite_variance=True)
    with pytest.raises(ValueError, match="strict must be False where infinite variance is allowed"):
        bounds.check_levels(SMOOTH, outside, allow_infinite_variance=True, strict=True)
    with pytest.warns(bounds.HeavyTailWarning, match="below p_0 = 2 only"):  # the leaf's own moments at D = 0
        bounds.check_levels(Posed((), 2.0), ())


def test_jumps_are_refused():
    jump = Posed(("discontinuous",))
    with pytest.raises(ValueError, match=r"smoothness\[0\] must not be a jump.*allow_infinite_variance=True"):
        bounds.check_levels(jump, (0.6,))
    assert bounds.check_levels(jump, (0.6,), allow_infinite_variance=True)[0] < 2


def test_logarithms_of_leaves_always_warn():
    with pytest.warns(bounds.HeavyTailWarning, match="importance sampling"):
        bounds.check_levels(Posed(("smooth",), inner="logmeanexp"), (0.6,))


def test_a_walk_is_judged_by_its_own_classes():
    assert bounds.check_levels(walk("A1"), (0.6,)) == bounds.moment_profile(("quadratic",), (0.6,))
    with pytest.raises(ValueError, match="jump"):
        bounds.check_levels(walk("A5"), (0.6,))


def test_remarks():
    assert bounds.tail_remark(1.9) == bounds.tail_remark(2) == "variance infinite: the standard error is meaningless"
    assert bounds.tail_remark(2.1) == bounds.tail_remark(3.9) == "heavy-tailed: fourth moment infinite"
    assert bounds.tail_remark(4) is None


# ---- Orders of cost --------------------------------------------------------------------------------------------------


def best_nested_error(depth, power, leaves):
    """min of 1/N_0 + (sum of 1/N_d)**power over real N_d with the given product; alike for d >= 1 by symmetry."""

    def error(log_inner):
        inner = math.exp(log_inner)
        return math.log(inner**depth / leaves + (depth / inner) ** power)

    return math.exp(optimize.minimize_scalar(error, bounds=(0, math.log(leaves)), method="bounded").fun)


@pytest.mark.parametrize(("depth", "smooth"), list(itertools.product((1, 2, 3), (True, False))))
def test_nested_orders_are_those_of_the_model_of_the_error(depth, smooth):
    power = 2 if smooth else 1
    few, many = 1e20, 1e24

    def slope(error):
        return math.log(error(many) / error(few)) / math.log(many / few)

    def equal(leaves):
        m = leaves ** (1 / (depth + 1))
        return 1 / m + (depth / m) ** power

    def square(leaves):
        m = leaves ** (1 / (depth + 2))
        return 1 / m**2 + (depth / m) ** power

    best = slope(lambda leaves: best_nested_error(depth, power, leaves))
    for name, value in (("equal", slope(equal)), ("square", slope(square)), ("best", best)):
        assert math.isclose(bounds.nested_slope(name, depth, smooth), value, abs_tol=2e-3)
    assert math.isclose(bounds.nested_cost_exponent(depth, smooth), -2 / best, rel_tol=1e-2)


def test_nested_slopes_of_the_published_figure():
    assert [bounds.nested_slope(name, 2) for name in ("equal", "square", "best")] == [-1 / 3, -1 / 2, -1 / 2]
    assert bounds.nested_slope("square", 0) == bounds.nested_slope("equal", 0) == -1  # plain Monte Carlo
    with pytest.raises(ValueError, match="allocation must be one of 'equal', 'square', 'best', got 'nmc3'"):
        bounds.nested_slope("nmc3", 2)


def multilevel_cost(alpha, beta, gamma, epsilon):
    """Least cost for mean squared error 2 epsilon**2 with means, variances and costs that are exact powers."""
    levels = np.arange(math.ceil(math.log2(1 / epsilon) / alpha) + 1)
    return epsilon**-2 * np.sum(2.0 ** ((gamma - beta) * levels / 2)) ** 2


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma"), [(1, 2, 1), (1, 1.5, 1), (1, 1, 1), (0.5, 0.5, 1), (1, 0.5, 1), (2, 1, 3)]
)
def test_deterministic_levels_cost_what_the_theorem_says(alpha, beta, gamma):
    power, logs = bounds.deterministic_cost(alpha, beta, gamma)
    fine, coarse = 2.0**-160, 2.0**-80  # levels come whole at these for every alpha above
    scaled = [multilevel_cost(alpha, beta, gamma, e) * e**power / math.log2(1 / e) ** logs for e in (fine, coarse)]
    assert math.isclose(*scaled, rel_tol=0.05)


def test_deterministic_rates_that_cannot_be():
    with pytest.raises(ValueError, match=r"weak must be >= min\(variance, cost\)/2, got 0.2"):
        bounds.deterministic_cost(0.2, 1.0)
    with pytest.raises(ValueError, match="variance must be positive"):
        bounds.deterministic_cost(1.0, 0.0)
