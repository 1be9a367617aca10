"""CARPool: means of expensive simulations, with cheap simulations of the same random seeds as control variates.

`n` pairs of runs share their seeds: y `[n, p]` are statistics of the expensive simulator and c `[n, q]` those of the
surrogate, whose mean mu is known from many runs of its own. The estimate mean(y) - beta (mean(c) - mu) is unbiased for
every fixed beta; the best one leaves the share 1 - R^2 of the variance, as if the volume had grown by
`effective_volume`. Estimated from the same pairs, beta costs `variance_factor` and, where the pair is not Gaussian, a
bias of order 1/n (`same_sample_bias`), which cross-fitting removes.
Source: `chartier:21`; its use for galaxies `ding:24`; the regression estimator `lavenberg:81`. Guarantees:
`predicted_variance`, `variance_factor`, `cross_fitted_factor`, exact for Gaussian pairs.

The kinds of beta, where statistic k of both simulators is the same quantity unless the kind is full:
  diagonal  y_k on c_k;
  hybrid    y_k on c_{k-w}, ..., c_{k+w}, its neighbours to a width w: diagonal is w = 0, full is w >= q - 1;
  full      y_k on all of c, by the pseudo-inverse of the correlations.
Lengths: n pairs, p statistics, q surrogate statistics; `controls` of them enter each row of beta.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from research.core import stats
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int

__all__ = [
    "Estimate", "Kind", "bootstrap_interval", "coefficients", "controls", "cross_fitted_factor", "effective_volume",
    "estimate", "interval", "predicted_variance", "same_sample_bias", "variance_factor",
]  # fmt: skip

Kind = Literal["diagonal", "hybrid", "full"]


class Estimate(NamedTuple):
    """What CARPool makes of n pairs."""

    mean: Float[Array, " p"]
    error: Float[Array, " p"]  # standard error, with what beta and the surrogate mean cost
    samples: Float[Array, "n p"]  # y_i - beta (c_i - mu); `mean` is their mean
    beta: Float[Array, "p q"]  # mean over folds where it is cross-fitted
    explained: Float[Array, " p"]  # R^2 in [0, 1], adjusted for the number of controls
    freedom: int | Int[Array, ""]  # degrees of freedom of the spread that the error comes from


def controls(kind: Kind, q: int, width: int = 1) -> int:
    """How many surrogate statistics enter each row of beta."""
    return {"diagonal": 1, "hybrid": min(2 * width + 1, q), "full": q}[kind]


def coefficients(
    y: Float[Array, "n p"], c: Float[Array, "n q"], kind: Kind = "diagonal", *, width: int = 1, smoothing: int = 1,
    used: Bool[Array, " n"] | None = None,
) -> Float[Array, "p q"]:  # fmt: skip
    """beta by least squares.

    Args:
      kind: see the module.
      width: neighbours on each side of a hybrid's, >= 1.
      smoothing: odd number of neighbouring entries over which a diagonal beta is averaged (5 in use for spectra, 1 for
        none); at the ends over those that exist.
      used: pairs that enter; all if None.

    Returns:
      beta; 0 in a column whose surrogate statistic does not vary.
    """
    share = jnp.ones(y.shape[0], y.dtype) if used is None else used.astype(y.dtype)
    share = (share / jnp.sum(share))[:, None]
    y, c = y - jnp.sum(share * y, axis=0, keepdims=True), c - jnp.sum(share * c, axis=0, keepdims=True)
    # In units of the surrogate's spread: the cut of the pseudo-inverse must not take small statistics for noise.
    spread = jnp.sqrt(jnp.sum(share * c**2, axis=0))
    varies = spread > 0
    scale = jnp.where(varies, spread, 1)
    c = c / scale[None, :]
    if kind == "diagonal":
        found = jnp.diag(_smoothed(jnp.sum(share * y * c, axis=0) / scale, smoothing))
        return jnp.where(varies[None, :], found, 0)
    surrogate, cross = c.T @ (share * c), y.T @ (share * c)
    if kind == "hybrid":
        found = jax.vmap(lambda k, row: _on_neighbours(surrogate, row, k, width))(jnp.arange(y.shape[1]), cross)
    else:
        found = cross @ jnp.linalg.pinv(surrogate, hermitian=True)
    return jnp.where(varies[None, :], found / scale[None, :], 0)


def _smoothed(values: Float[Array, " p"], length: int) -> Float[Array, " p"]:
    """Flat running mean."""
    if length == 1:
        return values
    kernel = jnp.ones(length, values.dtype)
    total, there = (jnp.convolve(x, kernel, mode="full") for x in (values, jnp.ones_like(values)))
    half = length // 2
    return (total / there)[half : half + values.shape[0]]


def _on_neighbours(surrogate, cross, k, width: int):
    """Row k of a hybrid beta: least squares on the statistics within `width`, 0 elsewhere."""
    q = cross.shape[0]
    place = k + jnp.arange(-width, width + 1)
    inside = (place >= 0) & (place < q)
    at = jnp.clip(place, 0, q - 1)
    both = inside[:, None] & inside[None, :]
    block = jnp.where(both, surrogate[at[:, None], at[None, :]], 0)
    row = jnp.where(inside, cross[at], 0) @ jnp.linalg.pinv(block, hermitian=True)
    return jnp.zeros_like(cross).at[at].add(jnp.where(inside, row, 0))


def estimate(
    y: Float[Array, "n p"], c: Float[Array, "n q"], mu: Float[Array, " q"], kind: Kind = "diagonal", *,
    width: int = 1, smoothing: int = 1, folds: int = 1, num_surrogates: int | None = None, validate: bool = True,
) -> Estimate:  # fmt: skip
    """The CARPool estimate of E y.

    Args:
      y, c: statistics of the simulator and of the surrogate, row by row from the same seeds.
      mu: mean of the surrogate's statistics.
      kind, width, smoothing: as in `coefficients`.
      folds: 1: beta from all pairs. 2 to n: cross-fitted, each fold with the beta of the others, which makes the
        estimate exactly unbiased for any law of the pairs; n (leaving one out) costs least variance.
      num_surrogates: how many runs of their own mu is the mean of; None: known exactly.
      validate: off where the call is traced again and again on data that was checked.

    Raises:
      ValueError: shapes that differ; n, or the pairs left for beta, below the number of controls + 3, for which its
        variance is infinite; a surrogate statistic that does not vary; a mean of another length.
    """
    y, c, mu = jnp.asarray(y), jnp.asarray(c), jnp.asarray(mu)
    if validate:
        _check(y, c, mu, kind, width, smoothing, folds, num_surrogates)
    n = y.shape[0]
    fold = jnp.arange(n) * folds // n
    kept = jnp.ones((1, n), bool) if folds == 1 else fold[None, :] != jnp.arange(folds)[:, None]
    betas = jax.vmap(lambda used: coefficients(y, c, kind, width=width, smoothing=smoothing, used=used))(kept)
    fitted = jnp.einsum("fpq,nq->fnp", betas, c - mu[None, :])
    samples = y - fitted[fold, jnp.arange(n)]
    beta, mean = betas.mean(axis=0), samples.mean(axis=0)
    number = controls(kind, c.shape[1], width)
    squares, total = (jnp.sum((x - x.mean(axis=0, keepdims=True)) ** 2, axis=0) for x in (samples, y))
    # A beta of the same pairs fits their noise as well: fewer degrees of freedom. A cross-fitted one does not.
    freedom = n - 1 - number if folds == 1 else n - 1
    squared = squares / freedom * (variance_factor(n, number) if folds == 1 else 1) / n
    if num_surrogates is not None:
        of_surrogate = jnp.cov(c, rowvar=False).reshape((c.shape[1],) * 2)
        squared += jnp.einsum("pq,qr,pr->p", beta, of_surrogate, beta) / num_surrogates
    explained = jnp.clip(1 - squares / freedom / (total / (n - 1)), 0, 1)
    return Estimate(mean, jnp.sqrt(squared), samples, beta, explained, freedom)


def _check(y, c, mu, kind, width, smoothing, folds, num_surrogates) -> None:
    checks.one_of("kind", kind, get_args(Kind))
    checks.shape("y", y, (None, None))
    checks.shape("c", c, (y.shape[0], None if kind == "full" else y.shape[1]))
    checks.shape("mu", mu, (c.shape[1],))
    for name, value in (("y", y), ("c", c), ("mu", mu)):
        checks.finite(name, value)
    checks.at_least("width", width, 1)
    checks.require(smoothing >= 1 and smoothing % 2 == 1, "smoothing", "be odd and positive", smoothing)
    checks.require(smoothing == 1 or kind == "diagonal", "smoothing", f"be 1 for a {kind} beta", smoothing)
    n, number = y.shape[0], controls(kind, c.shape[1], width)
    checks.require(1 <= folds <= max(n, 1), "folds", f"lie in [1, {n}], the number of pairs", folds)
    left = n if folds == 1 else n - -(-n // folds)
    for_beta = "number of pairs n" if folds == 1 else f"number of pairs outside each of {folds} folds"
    checks.require(left >= number + 3, for_beta, f"be >= {number + 3} for {number} controls", left)
    if checks.is_concrete(c):
        still = np.flatnonzero(np.ptp(np.asarray(c), axis=0) == 0)
        checks.require(not len(still), "c", "vary in every column", f"a constant in column(s) {still.tolist()}")
    if num_surrogates is not None:
        checks.at_least("num_surrogates", num_surrogates, 1)


def interval(found: Estimate, level: float = 0.95, kind: Literal["z", "t"] = "z") -> stats.Interval:
    """Normal interval of the mean; "t" takes Student's quantile instead, which matters below some thirty pairs."""
    from scipy import special

    checks.one_of("kind", kind, ("z", "t"))
    checks.require(0 < level < 1, "level", "lie in (0, 1)", level)
    n = found.samples.shape[0]
    quantile = special.ndtri(0.5 + level / 2) if kind == "z" else special.stdtrit(float(found.freedom), 0.5 + level / 2)
    mean, half = np.asarray(found.mean, np.float64), quantile * np.asarray(found.error, np.float64)
    return stats.Interval(mean, mean - half, mean + half, n, level, kind)


def bootstrap_interval(
    y: Float[Array, "n p"], c: Float[Array, "n q"], mu: Float[Array, " q"], kind: Kind = "diagonal", *, seed: int,
    level: float = 0.95, resamples: int = 1000, **options,
) -> stats.Interval:  # fmt: skip
    """BCa bootstrap interval of the mean: pairs are resampled and beta is fitted anew, so that its error is included;
    that of mu is not. `options` are those of `estimate`."""
    y, c, mu = (jnp.asarray(x) for x in (y, c, mu))
    estimate(y, c, mu, kind, **options)  # its checks

    @jax.jit
    def means(rows):
        return jax.vmap(lambda r: estimate(y[r], c[r], mu, kind, validate=False, **options).mean)(rows)

    def statistic(index, axis):
        rows = np.moveaxis(np.asarray(index), axis, -1).astype(np.int32)
        found = np.asarray(means(jnp.asarray(rows.reshape(-1, rows.shape[-1]))))
        return np.moveaxis(found.reshape(*rows.shape[:-1], -1), -1, 0)

    found = stats.bootstrap_interval(np.arange(len(y)), statistic, level, seed=seed, resamples=resamples)
    return found._replace(kind="BCa")


def effective_volume(explained: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """1 / (1 - R^2): by how much the volume would have to grow for the same variance without a surrogate."""
    return 1 / (1 - explained)


def variance_factor(n: int, number: int = 1) -> float:
    """(n - 2) / (n - q - 2): what a beta estimated from the same n Gaussian pairs with q controls costs, over the best
    beta's variance. Raises ValueError below n = q + 3, where it is infinite. Source: `lavenberg:81`."""
    checks.require(n >= number + 3, "n", f"be >= {number + 3} for {number} controls", n)
    return (n - 2) / (n - number - 2)


def cross_fitted_factor(n: int, number: int = 1) -> float:
    """1 + q / (n / 2 - q - 2): the same for two folds of n / 2 Gaussian pairs; finite from n = 2 (q + 3) on.

    Derived: either half's beta is independent of the other half's mean, and the products of the two halves' errors
    have mean 0. With more folds the betas share pairs, and the factor lies above 1 + q / (n (1 - 1/folds) - q - 2).
    """
    checks.require(n % 2 == 0 and n >= 2 * (number + 3), "n", f"be even and >= {2 * (number + 3)}", n)
    return 1 + number / (n / 2 - number - 2)


def predicted_variance(
    variance: float, explained: float, n: int, number: int = 1, num_surrogates: float = np.inf
) -> float:
    """Variance of the estimate with a beta of the same n Gaussian pairs and a surrogate mean of its own runs.

    variance [(1 - R^2) variance_factor / n + (R^2 + (1 - R^2) q / (n - q - 2)) / num_surrogates], exact. The last
    term is that of the beta which was estimated: without it, R^2 / num_surrogates, it is right to first order.

    Args:
      variance: of one run of the simulator.
      explained: R^2, multiple where there are several controls.
      number: q, the number of controls.
    """
    left = (1 - explained) * variance_factor(n, number) / n
    return variance * (left + (explained + (1 - explained) * number / (n - number - 2)) / num_surrogates)


def same_sample_bias(residual: Float[Array, " M"], c: Float[Array, " M"], n: int) -> Float[Array, ""]:
    """-E[e (c - mu)^2] / (n var c), the bias of one diagonal estimate from n pairs to first order in 1/n.

    Args:
      residual: e = y - E y - beta (c - mu) with the best beta, for a large sample of pairs.
      c: the surrogate's statistic in them.
    """
    centred = c - jnp.mean(c)
    return -jnp.mean((residual - jnp.mean(residual)) * centred**2) / (n * jnp.mean(centred**2))
