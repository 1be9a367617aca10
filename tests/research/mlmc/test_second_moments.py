"""Closed second moments against quadrature, the published tables, and the curvature bound over exact instances."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from research.mlmc import links, second_moments
from research.mlmc.walks import GaussianWalk, walk

pytestmark = pytest.mark.usefixtures("x64")

TABLE = {  # variances at r = .55, .60, .65, .70, then the best r and its work-normalised variance
    "A1": ((32.642045, 31.875000, 33.149038, 41.383929), 0.6765, 68.5823),
    "A2": ((14.210509, 13.511494, 13.387555, 14.872711), 0.6931, 25.9091),
    "A3": ((1.232924, 1.351566, 1.711034, 3.018178), 0.6378, 3.6667),
}


def posed(name):
    return walk(name, jnp.float64)


def random_walks(link, seed, count):
    """Walks under one link with drawn parameters; the mean is zero under the kink."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mean = 0.0 if link is links.Relu else rng.normal()
        scales = jnp.asarray(rng.uniform(0.2, 1.2, 2))
        yield GaussianWalk(jnp.asarray(mean), scales, (link(), links.Identity()), (0,), (1,)), int(rng.integers(0, 4))


@pytest.mark.parametrize("name", TABLE)
def test_the_published_variances(name):
    problem, (expected, rate, least) = posed(name), TABLE[name]
    found = [second_moments.single_variance(problem, r) for r in (0.55, 0.60, 0.65, 0.70)]
    np.testing.assert_allclose(found, expected, atol=6e-7)
    np.testing.assert_allclose(second_moments.best_rate(problem), (rate, least), atol=5.1e-5)


def test_systematic_levels_at_the_published_rate():
    expected = {"A1": (32.04, 22.33), "A2": (13.37, 9.49), "A3": (1.452, 1.389)}
    for name, values in expected.items():
        found = [f(posed(name), 0.62) for f in (second_moments.single_variance, second_moments.systematic_variance)]
        np.testing.assert_allclose(found, values, rtol=6e-4)


def test_heavy_tail_of_the_square_at_074():
    problem = posed("A1")
    assert math.isclose(second_moments.single_variance(problem, 0.74), 120.1, abs_tol=0.05)
    # A million replicates mostly see levels up to 11.
    assert round(second_moments.variance_seen(problem, 0.74, 11)) == 54
    seen = [second_moments.variance_seen(problem, 0.74, levels) for levels in (0, 10, 100, 500)]
    assert (np.diff(seen) > 0).all()
    assert math.isclose(seen[-1], second_moments.single_variance(problem, 0.74), rel_tol=1e-7)


NODES, WEIGHTS = special.roots_hermitenorm(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def by_quadrature(problem, level, base):
    """(E Delta_n, E Delta_n**2) for a smooth link, over two normals."""
    mean, outer, inner = float(problem.mean), *map(float, problem.scales)
    v = inner**2 / 2 ** (base + level)
    middle = (mean + math.sqrt(outer**2 + v) * NODES)[:, None]
    half = (math.sqrt(v) * NODES)[None, :]
    link = problem.functions[0]
    difference = link(jnp.asarray(middle)) if level == 0 else link.delta(middle + half, middle - half)
    values = np.broadcast_to(np.asarray(difference), (80, 80))
    return [float(WEIGHTS @ values**power @ WEIGHTS) for power in (1, 2)]


@pytest.mark.parametrize("link", [links.Square, links.Exponential, links.Sine], ids=lambda link: link.__name__)
def test_moments_against_quadrature(link):
    for problem, base in random_walks(link, 1, 20):
        levels = np.arange(6)
        means = second_moments.level_means(problem, levels, base)
        squares = second_moments.level_second_moments(problem, levels, base)
        expected = np.array([by_quadrature(problem, level, base) for level in levels])
        np.testing.assert_allclose(np.stack([means, squares], axis=1), expected, rtol=1e-9, atol=1e-14)


def test_moments_of_the_kink_against_quadrature():
    # Delta = -(|h| - |M|)_+ / 2: the part over M in closed form, the one over h by 60 Gauss-Legendre nodes.
    nodes, weights = special.roots_legendre(60)
    for problem, base in random_walks(links.Relu, 2, 20):
        outer, inner = map(float, problem.scales)
        for level in (1, 2, 5):
            narrow = inner * 2 ** (-(base + level) / 2)
            wide = math.hypot(outer, narrow)
            half = 6 * narrow * (1 + nodes)
            density = 6 * narrow * weights * 2 * stats.norm.pdf(half / narrow) / narrow
            z, inside = half / wide, 2 * special.ndtr(half / wide) - 1
            first = half * inside - wide * math.sqrt(2 / math.pi) * -np.expm1(-(z**2) / 2)
            second = (half**2 + wide**2) * inside + 2 * half * wide * (stats.norm.pdf(z) - math.sqrt(2 / math.pi))
            np.testing.assert_allclose(
                second_moments.level_means(problem, [level], base), [-density @ first / 2], rtol=1e-9
            )
            found = second_moments.level_second_moments(problem, [level], base)
            np.testing.assert_allclose(found, [density @ second / 4], rtol=1e-9)


@pytest.mark.parametrize("name", ["A1", "A2", "A3", "A4"])
def test_differences_telescope(name):
    problem = posed(name)
    levels = np.arange(60)
    partial = np.cumsum(second_moments.level_means(problem, levels, 1))
    np.testing.assert_allclose(partial, second_moments.nested_mean(problem, 2.0 ** (levels + 1)), rtol=1e-13)
    np.testing.assert_allclose(partial[-1], problem.exact, rtol=1e-13)
    assert math.isclose(float(second_moments.nested_mean(problem, math.inf)), problem.exact, rel_tol=1e-14)


def test_bias_of_nested_monte_carlo_under_the_square():
    for problem, _ in random_walks(links.Square, 3, 20):  # exact: gamma_0 + Var(y_1 | y_0) / N_1
        excess = second_moments.nested_mean(problem, 7) - second_moments.nested_mean(problem, math.inf)
        np.testing.assert_allclose(excess, float(problem.scales[1]) ** 2 / 7, rtol=1e-12)


@pytest.mark.parametrize(("name", "rate"), [("A1", 2.0), ("A2", 2.0), ("A3", 2.0), ("A4", 1.5)])
def test_nothing_cancels_at_high_levels(name, rate):
    moments = second_moments.level_second_moments(posed(name), np.arange(40, 60))
    np.testing.assert_allclose(moments[:-1] / moments[1:], 2.0**rate, rtol=1e-10)


@pytest.mark.parametrize("name", ["A1", "A2", "A3", "A4"])
def test_the_series_is_summed_to_the_end(name):
    problem = posed(name)
    limit = 0.75 if name != "A4" else 1 - 2**-1.5
    assert second_moments.single_variance(problem, limit + 1e-9) == math.inf
    rate, levels = limit - 0.02, np.arange(480)
    terms = second_moments.level_second_moments(problem, levels) / (rate * (1 - rate) ** levels)
    direct = math.fsum(terms) - problem.exact**2  # beyond, terms fall by 0.95 per level: 1e-11 is left
    assert math.isclose(second_moments.single_variance(problem, rate), direct, rel_tol=1e-9)


def test_best_rate_is_a_minimum():
    for name in ("A1", "A2", "A3", "A4"):
        for base in (0, 2):
            rate, least = second_moments.best_rate(posed(name), base)
            around = [second_moments.work_normalised_variance(posed(name), rate + s, base) for s in (-1e-3, 1e-3)]
            assert least < min(around)


def test_other_problems_are_refused():
    for problem in (posed("A5"), posed("E1")):
        with pytest.raises(ValueError, match="problem must"):
            second_moments.single_variance(problem, 0.6)
    off = GaussianWalk(jnp.asarray(0.1), jnp.ones(2), (links.Relu(), links.Identity()), (0,), (1,))
    with pytest.raises(ValueError, match=r"problem.mean must be 0 under the link max\(z, 0\), got 0.1"):
        second_moments.level_means(off, [1])


# ---- The curvature bound ---------------------------------------------------------------------------------------------

#: Functions of one number with the largest |g''|: log cosh and its kind grow linearly, the logistic one is bounded.
CURVED = {
    "square": (lambda z: z**2, 2.0),
    "sine": (np.sin, 1.0),
    "log cosh": (lambda z: np.logaddexp(z, -z), 1.0),
    "hyperbola": (lambda z: np.sqrt(1 + z**2), 1.0),
    "sigmoid": (special.expit, 1 / (6 * math.sqrt(3))),
}


def two_point(rng):
    """Histories with weights, and for each a law on two points: (weights, low, high, probability of high)."""
    atoms = rng.integers(1, 5)
    low = rng.normal(size=atoms)
    return rng.dirichlet(np.ones(atoms)), low, low + rng.exponential(2, atoms), rng.uniform(0.02, 0.98, atoms)


def exact_second_moment(link, level, weights, low, high, chance):
    """E Delta_n**2 by enumeration: each half's sum is binomial."""
    half = 2 ** (level - 1)
    k = np.arange(half + 1)
    total = 0.0
    for weight, x, y, q in zip(weights, low, high, chance, strict=True):
        means, law = x + (y - x) * k / half, stats.binom.pmf(k, half, q)
        a, b = means[:, None], means[None, :]
        total += weight * (law @ (link((a + b) / 2) - (link(a) + link(b)) / 2) ** 2 @ law)
    return total


@pytest.mark.parametrize("name", CURVED)
def test_curvature_bounds_the_second_moment(name):
    # Theorem: every link of bounded second derivative, every inner law, every level; 25 instances each, enumerated.
    link, curvature = CURVED[name]
    rng, levels = np.random.default_rng(4), np.arange(1, 7)
    closest = 0.0
    for _ in range(25):
        weights, low, high, chance = two_point(rng)
        spread, coin = (high - low) ** 2, chance * (1 - chance)
        squared, fourth = weights @ (coin * spread) ** 2, weights @ (coin * (1 - 3 * coin) * spread**2)
        allowed = second_moments.curvature_second_moments(levels, curvature, squared, fourth)
        exact = np.array([exact_second_moment(link, level, weights, low, high, chance) for level in levels])
        assert (exact <= allowed * (1 + 1e-11)).all()
        closest = max(closest, (exact / allowed).max())
        if name == "square":  # equality
            np.testing.assert_allclose(exact, allowed, rtol=1e-11)
    assert closest > 0.25  # the bound says something: instances come near it


def test_curvature_bounds_drawn_differences():
    # Continuous inner laws, sampled: exponential, uniform and Laplace, 24 instances. A mean of squares above the bound
    # by six standard errors has probability below 1e-8 each: laws here are of bounded kurtosis.
    rng = np.random.default_rng(5)
    laws = (
        (lambda size: rng.exponential(size=size), 1.0, 9.0),
        (lambda size: rng.uniform(-1, 1, size), 1 / 9, 1 / 5),
        (lambda size: rng.laplace(size=size), 4.0, 24.0),
    )
    for trial in range(24):
        draw, squared, fourth = laws[trial % 3]
        link, curvature = list(CURVED.values())[1 + trial % 4]
        level, scale, shift = 1 + trial % 4, rng.uniform(0.2, 1.5), rng.normal()
        halves = shift + scale * draw((40_000, 2, 2 ** (level - 1))).mean(axis=2)
        a, b = halves.T
        squares = (link((a + b) / 2) - (link(a) + link(b)) / 2) ** 2
        allowed = second_moments.curvature_second_moments([level], curvature, squared * scale**4, fourth * scale**4)
        assert squares.mean() <= allowed[0] + 6 * squares.std() / math.sqrt(len(squares))


@pytest.mark.parametrize("link", [links.Square, links.Sine], ids=lambda link: link.__name__)
def test_curvature_bounds_the_variance(link):
    # Normal inner samples: sigma**4 and mu_4 = 3 sigma**4; 20 walks, several r and b, in closed form on both sides.
    curvature = 2.0 if link is links.Square else 1.0
    for problem, base in random_walks(link, 6, 20):
        square = float(problem.scales[1]) ** 4
        first = float(second_moments.level_second_moments(problem, [0], base)[0])
        for rate in (0.51, 0.6, 0.7, 0.749):
            exact = second_moments.single_variance(problem, rate, base)
            gamma = float(second_moments.nested_mean(problem, math.inf))
            bound = second_moments.curvature_variance(rate, curvature, square, 3 * square, first, base) - gamma**2
            assert exact <= bound * (1 + 1e-12)
            if link is links.Square:
                assert math.isclose(exact, bound, rel_tol=1e-9)
        assert second_moments.curvature_variance(0.75, curvature, square, 3 * square, first) == math.inf
    with pytest.raises(ValueError, match="levels must be >= 1"):
        second_moments.curvature_second_moments([0], 1.0, 1.0, 3.0)
