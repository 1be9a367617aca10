"""Statistics of replicates: streaming moments, intervals, rates, paired differences.

Intervals come with their kind and their number of replicates, since a figure prints both. Distribution functions are
SciPy's; they run on the host. `Moments` is a pytree and runs inside a program.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float

__all__ = [
    "Interval", "Moments", "RateFit", "bootstrap_interval", "merge", "paired_difference", "rate_fit", "start_moments",
    "sub_gaussian_interval", "t_interval", "update_moments", "variance",
]  # fmt: skip


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of a stream; all of one shape (stable: Chan et al. 1983)."""

    count: Float[Array, "..."]
    mean: Float[Array, "..."]
    deviation: Float[Array, "..."]  # sum of (x - mean)**2


def start_moments(shape: tuple[int, ...] = (), dtype=jnp.float32) -> Moments:
    """Moments of nothing."""
    return Moments(*(jnp.zeros(shape, dtype) for _ in range(3)))


def update_moments(moments: Moments, x: Float[Array, "..."]) -> Moments:
    """Adds one observation (Welford's update)."""
    count = moments.count + 1
    delta = x - moments.mean
    mean = moments.mean + delta / count
    return Moments(count, mean, moments.deviation + delta * (x - mean))


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two streams; either may be empty."""
    count = a.count + b.count
    share = b.count / jnp.maximum(count, 1)
    delta = b.mean - a.mean
    return Moments(count, a.mean + delta * share, a.deviation + b.deviation + delta**2 * a.count * share)


def variance(moments: Moments, ddof: int = 1) -> Float[Array, "..."]:
    """Variance with `ddof` degrees of freedom taken off; NaN where count <= ddof."""
    freedom = moments.count - ddof
    return jnp.where(freedom > 0, moments.deviation / jnp.where(freedom > 0, freedom, 1), jnp.nan)


class Interval(NamedTuple):
    """A mean with a confidence interval of the named kind over n replicates."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    level: float
    kind: str


def _replicates(x, axis: int) -> np.ndarray:
    values = np.moveaxis(np.asarray(x, np.float64), axis, 0)
    if values.shape[0] < 1:
        raise ValueError(f"x must have at least one replicate, got shape {np.shape(x)}.")
    return values


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}.")


def t_interval(x, level: float = 0.95, axis: int = 0) -> Interval:
    """Student's interval for the mean; infinitely wide for a single replicate, since nothing is known of its spread."""
    from scipy import special

    _check_level(level)
    values = _replicates(x, axis)
    n, mean = len(values), values.mean(axis=0)
    if n == 1:
        return Interval(mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf), 1, level, "t")
    half = special.stdtrit(n - 1, 0.5 + level / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level, "t")


def bootstrap_interval(
    x, statistic: Callable = np.mean, level: float = 0.95, *, seed: int, resamples: int = 9999
) -> Interval:
    """Bias-corrected, accelerated bootstrap interval of `statistic(x, axis)` for a one-dimensional sample, n >= 2."""
    from scipy import stats as scipy_stats

    _check_level(level)
    values = np.asarray(x, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"x must be one-dimensional with at least two entries, got shape {values.shape}.")
    estimate = np.asarray(statistic(values, axis=0))
    if np.ptp(values) == 0:  # every resample is the sample: BCa divides by zero
        return Interval(estimate, estimate, estimate, len(values), level, "bootstrap")
    found = scipy_stats.bootstrap(
        (values,), statistic, confidence_level=level, n_resamples=resamples, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(estimate, np.asarray(found.low), np.asarray(found.high), len(values), level, "bootstrap")


def sub_gaussian_interval(x, width: float, level: float = 0.95, axis: int = 0) -> Interval:
    """Hoeffding's interval for the mean of replicates that lie in an interval of the given width; valid for every n."""
    _check_level(level)
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}.")
    values = _replicates(x, axis)
    mean, half = values.mean(axis=0), width * np.sqrt(np.log(2 / (1 - level)) / (2 * len(values)))
    return Interval(mean, mean - half, mean + half, len(values), level, "sub-gaussian")


class RateFit(NamedTuple):
    """y ~ scale * x**slope by least squares in logarithms, with Student's interval for the slope."""

    slope: float
    low: float
    high: float
    scale: float
    n: int
    level: float


def rate_fit(x, y, level: float = 0.95) -> RateFit:
    """Fits a power law to positive points; at least three, of which two different x.

    The interval takes the residuals as independent: for points of one trajectory it is too narrow, so fit the rate per
    replicate and pass the slopes to `t_interval`.
    """
    from scipy import stats as scipy_stats

    _check_level(level)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    for name, values in (("x", x), ("y", y)):
        if values.ndim != 1 or len(values) < 3 or not (values > 0).all():
            raise ValueError(f"{name} must hold at least three positive numbers, got {values}.")
    fit = scipy_stats.linregress(np.log(x), np.log(y))
    half = scipy_stats.t.ppf(0.5 + level / 2, len(x) - 2) * fit.stderr
    return RateFit(fit.slope, fit.slope - half, fit.slope + half, float(np.exp(fit.intercept)), len(x), level)


def paired_difference(a, b, level: float = 0.95, axis: int = 0) -> Interval:
    """Student's interval for mean(a - b), replicate by replicate: what common random numbers are for."""
    if np.shape(a) != np.shape(b):
        raise ValueError(f"a and b must have equal shapes, got {np.shape(a)} and {np.shape(b)}.")
    return t_interval(np.asarray(a, np.float64) - np.asarray(b, np.float64), level, axis)._replace(kind="paired t")
