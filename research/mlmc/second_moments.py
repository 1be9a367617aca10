"""Second moments of level differences at D = 1, and the variance that random levels make of them.

Closed forms for walks with links z**2, exp z, sin z, and, from mean zero, max(z, 0): y_0 ~ N(m, s_0**2), inner samples
N(y_0, s_1**2), so that the mean of all 2**(b+n) of them is M ~ N(m, s_0**2 + v) with v = s_1**2 / 2**(b+n), and the
half difference h ~ N(0, v) is independent of M. For any link of bounded second derivative there is an upper bound.

`Delta_0` is the link at the mean of 2**b inner samples, nothing subtracted. Host arithmetic in double precision; forms
with `expm1` and with a series where the plain one would cancel. Derived here; `syed:23` states orders.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from research.core import validate
from research.mlmc import bounds, links
from research.mlmc.walks import GaussianWalk

__all__ = [
    "best_rate", "curvature_second_moments", "curvature_variance", "level_means", "level_second_moments", "nested_mean",
    "single_variance", "systematic_variance", "variance_seen", "work_normalised_variance",
]  # fmt: skip

#: Levels summed one by one; above, terms fall geometrically up to factors 1 + O(2**-60).
_EXPLICIT = 60

#: Rate beta of E Delta_n**2 = O(2**(-beta n)).
_LINKS = {links.Square: 2.0, links.Exponential: 2.0, links.Sine: 2.0, links.Relu: 1.5}


def _walk(problem: GaussianWalk) -> tuple[type, float, float, float]:
    """The link's class, m, s_0 and s_1."""
    validate.require(
        isinstance(problem, GaussianWalk) and problem.depth == 1, "problem", "be a Gaussian walk of depth 1", problem
    )
    link, leaf = problem.functions
    plain = isinstance(leaf, links.Identity) and problem.with_state == (0,) and problem.signs == (1,)
    names = ", ".join(kind.__name__ for kind in _LINKS)
    validate.require(
        plain and type(link) in _LINKS, "problem", f"have the mean of y_1 under one of the links {names}", problem
    )
    mean, outer, inner = float(problem.mean), *map(float, problem.scales)
    validate.require(
        not isinstance(link, links.Relu) or mean == 0, "problem.mean", "be 0 under the link max(z, 0)", mean
    )
    return type(link), mean, outer, inner


def _moment(link: type, mean: float, spread):
    """E g(M)**2 for M of the given variance."""
    if link is links.Square:
        return mean**4 + 6 * mean**2 * spread + 3 * spread**2
    if link is links.Exponential:
        return np.exp(2 * mean + 2 * spread)
    if link is links.Sine:
        return (1 - np.exp(-2 * spread) * math.cos(2 * mean)) / 2
    return spread / 2


def _corner(ratio):
    """(1 + t**2) atan t - t, of order 2 t**3 / 3."""
    small = np.minimum(ratio, 0.1)
    # Eight terms leave t**18 of the leading one.
    series = sum((-1) ** (k + 1) * 2 * small ** (2 * k + 1) / ((2 * k - 1) * (2 * k + 1)) for k in range(1, 9))
    return np.where(ratio < 0.1, series, (1 + ratio**2) * np.arctan(ratio) - ratio)


def _difference(link: type, mean: float, outer: float, v):
    """E Delta_n**2 for n >= 1, v the variance of the mean."""
    if link is links.Square:
        return 3 * v**2
    if link is links.Exponential:
        u = np.exp(v / 2)
        return np.exp(2 * mean + 2 * (outer**2 + v)) * np.expm1(v / 2) ** 2 * (u**2 + 2 * u + 3) / 2
    if link is links.Sine:
        w = np.exp(-v / 2)
        return _moment(link, mean, outer**2 + v) * np.expm1(-v / 2) ** 2 * (w**2 + 2 * w + 3) / 2
    # E (|h| - |M|)_+**2 / 4 in polar coordinates of the two normals.
    spread = outer**2 + v
    return spread * _corner(np.sqrt(v / spread)) / (2 * math.pi)


def level_second_moments(problem: GaussianWalk, levels: Sequence[int], base: int = 0) -> np.ndarray:
    """E Delta_n**2 for the given levels, `[L]`.

    Raises: ValueError for any problem but a walk of depth 1 with one of the four links.
    """
    link, mean, outer, inner = _walk(problem)
    n = np.asarray(levels)
    v = inner**2 / 2.0 ** (base + n)
    return np.where(n == 0, _moment(link, mean, outer**2 + v), _difference(link, mean, outer, v))


def nested_mean(problem: GaussianWalk, inner_samples) -> np.ndarray:
    """E g(mean of so many inner samples): the expectation of nested Monte Carlo. Infinity: gamma_0."""
    link, mean, outer, inner = _walk(problem)
    spread = outer**2 + inner**2 / np.asarray(inner_samples, np.float64)
    if link is links.Square:
        return mean**2 + spread
    if link is links.Exponential:
        return np.exp(mean + spread / 2)
    return np.exp(-spread / 2) * math.sin(mean) if link is links.Sine else np.sqrt(spread / (2 * math.pi))


def level_means(problem: GaussianWalk, levels: Sequence[int], base: int = 0) -> np.ndarray:
    """E Delta_n for the given levels, `[L]`; their sum over n is gamma_0."""
    link, mean, outer, inner = _walk(problem)
    n = np.asarray(levels)
    v = inner**2 / 2.0 ** (base + n)
    nested = nested_mean(problem, 2.0 ** (base + n))
    if link is links.Square:
        change = -v
    elif link is links.Exponential:
        change = -nested * np.expm1(v / 2)
    elif link is links.Sine:
        change = -nested * np.expm1(-v / 2)
    else:
        change = -v / (math.sqrt(2 * math.pi) * (np.sqrt(outer**2 + v) + np.sqrt(outer**2 + 2 * v)))
    return np.where(n == 0, nested, change)


def _series(terms: np.ndarray, rate: float, falling: float) -> float:
    """Sum over all n of terms_n / p_n, where terms fall as 2**(-falling n) from the last given one on."""
    ratio = 2.0**-falling / (1 - rate)
    if ratio >= 1:
        return math.inf
    weighted = terms / (rate * (1 - rate) ** np.arange(len(terms)))
    return math.fsum(weighted) + float(weighted[-1]) * ratio / (1 - ratio)


def single_variance(problem: GaussianWalk, rate: float, base: int = 0) -> float:
    """Variance of one replicate of the single-term estimator: sum of E Delta_n**2 / p_n, less gamma_0**2.

    Infinite for r >= 1 - 2**-beta: 3/4, or 0.646 for the kink.
    """
    moments = level_second_moments(problem, np.arange(_EXPLICIT), base)
    return _series(moments, rate, _LINKS[_walk(problem)[0]]) - float(nested_mean(problem, math.inf)) ** 2


def variance_seen(problem: GaussianWalk, rate: float, levels: int, base: int = 0) -> float:
    """What is left of `single_variance` in a sample without levels above the given one: mostly too little.

    Among R replicates levels beyond log(R)/(lambda log 2) are drawn less than once.
    """
    n = np.arange(levels + 1)
    weighted = level_second_moments(problem, n, base) / (rate * (1 - rate) ** n)
    return math.fsum(weighted) - math.fsum(level_means(problem, n, base)) ** 2


def systematic_variance(problem: GaussianWalk, rate: float, base: int = 0) -> float:
    """Variance per replicate with systematic levels, to first order: sum of Var(Delta_n) / p_n.

    The count of every level is then known within one: what is left is the spread within levels.
    """
    n = np.arange(_EXPLICIT)
    spread = level_second_moments(problem, n, base) - level_means(problem, n, base) ** 2
    return _series(spread, rate, _LINKS[_walk(problem)[0]])


def work_normalised_variance(problem: GaussianWalk, rate: float, base: int = 0) -> float:
    """`single_variance` times expected leaves: the root mean squared error at T leaves is sqrt(this / T)."""
    return single_variance(problem, rate, base) * bounds.expected_leaves((rate,), (base,))


def best_rate(problem: GaussianWalk, base: int = 0) -> tuple[float, float]:
    """The r of least work-normalised variance, and that variance."""
    limit = bounds.variance_limit(_LINKS[_walk(problem)[0]])
    found = optimize.minimize_scalar(
        lambda rate: work_normalised_variance(problem, rate, base),
        bounds=(0.5 + 1e-6, limit - 1e-6),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(found.x), float(found.fun)


def curvature_second_moments(
    levels: Sequence[int], curvature: float, squared_variance: float, fourth: float, base: int = 0
) -> np.ndarray:
    """E Delta_n**2 <= this for n >= 1 and any link with |g''| <= M: M**2/4 (3 sigma**4 (1 - 1/m)/m**2 + mu_4/m**3).

    |Delta| <= M h**2 / 2, and h is the mean of m = 2**(b+n) independent terms of variance sigma**2 with random signs.
    Equality for g = z**2, M = 2.

    Args:
      levels: n >= 1, `[L]`.
      curvature: M.
      squared_variance: E sigma**4, of the variance of an inner sample given the history.
      fourth: E mu_4, of its fourth central moment.
    """
    n = np.asarray(levels)
    validate.at_least("levels", n, 1)
    m = 2.0 ** (base + n)
    return curvature**2 / 4 * (3 * squared_variance * (1 - 1 / m) / m**2 + fourth / m**3)


def curvature_variance(
    rate: float, curvature: float, squared_variance: float, fourth: float, first: float, base: int = 0
) -> float:
    """Second moment of one replicate <= E Delta_0**2 / r + sum of `curvature_second_moments` / p_n; infinite for
    r >= 3/4. Less gamma_0**2 it bounds the variance.

    Args:
      first: E Delta_0**2, of the link at the mean of 2**b inner samples.
    """
    bounds_ = curvature_second_moments(np.arange(1, _EXPLICIT), curvature, squared_variance, fourth, base)
    return _series(np.concatenate([[first], bounds_]), rate, 2.0)
