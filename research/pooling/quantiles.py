"""Quantile sets made monotone, groups shrunk towards their common mean, log-likelihoods averaged over orders.

A set of predicted quantiles that cross is repaired by sorting, or by isotonic regression: the nearest nondecreasing
sequence in weighted squares. Neither increases the summed pinball loss (T20): `pinball_increase` is <= 0 for both.
Source: `fakoor:23`, for quantile sets; `ayer:55` for pooling adjacent violators; `efron:75` for shrinkage.

Letters: `Q` quantile levels, `G` groups, `N` elements of a group, `D` channels.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling.operator import Operator
from research.pooling.sets import set_pool

__all__ = [
    "example", "isotonic", "partial_pool", "permutation_mixture", "pinball", "pinball_increase", "sorted_quantiles",
]  # fmt: skip


def sorted_quantiles(values: Float[Array, "... Q"]) -> Float[Array, "... Q"]:
    """Values in nondecreasing order; the gradient is that of the permutation."""
    return jnp.sort(values, axis=-1)


@jax.custom_jvp
def _isotonic(values: Float[Array, "... Q"], weights: Float[Array, "... Q"]) -> Float[Array, "... Q"]:
    """max over j <= i, min over k >= i, of the mean of entries j, ..., k: all blocks at once, no loop."""
    size = values.shape[-1]
    total = jnp.pad(jnp.cumsum(weights * values, axis=-1), [(0, 0)] * (values.ndim - 1) + [(1, 0)])
    mass = jnp.pad(jnp.cumsum(weights, axis=-1), [(0, 0)] * (values.ndim - 1) + [(1, 0)])
    place = jnp.arange(size)
    ahead = jnp.broadcast_to(place[None, :] >= place[:, None], (*values.shape, size))  # of (j, k) and of (j, i)
    sums = total[..., None, 1:] - total[..., :-1, None]
    masses = jnp.where(ahead, mass[..., None, 1:] - mass[..., :-1, None], 1)
    # A block of one is its entry to the bit, so that what is monotone already stays as it is.
    alone = jnp.broadcast_to(jnp.eye(size, dtype=bool), ahead.shape)
    means = jnp.where(alone, values[..., None], sums / masses)
    means = jnp.where(ahead, means, jnp.inf)
    least = jax.lax.cummin(means, axis=means.ndim - 1, reverse=True)
    return jnp.max(jnp.where(ahead, least, -jnp.inf), axis=-2)


@_isotonic.defjvp
def _isotonic_jvp(primals, tangents):
    """Block averaging. Entries of a block come from one entry of the matrix of means, so that they are equal bit for
    bit; neighbouring blocks of one value are taken as one, which is a choice at a kink. Weights are held constant."""
    values, weights = primals
    fitted = _isotonic(values, weights)
    together = (fitted[..., :, None] == fitted[..., None, :]).astype(values.dtype) * weights[..., None, :]
    share = together / jnp.sum(together, axis=-1, keepdims=True)
    return fitted, jnp.einsum("...ij,...j->...i", share, tangents[0])


def isotonic(values: Float[Array, "... Q"], weights: Float[Array, " Q"] | None = None) -> Float[Array, "... Q"]:
    """The nondecreasing sequence nearest to the values: min sum_i w_i (y_i - x_i)^2.

    What pooling adjacent violators finds, by its minimax formula: Q^2 numbers and no loop, for the Q <= a few hundred
    of quantile sets. The gradient for values averages over blocks; weights are constants.

    Args:
      weights: positive; None for equal ones.

    Raises:
      ValueError: weights that are not positive or not `[Q]`.
    """
    if weights is None:
        weights = jnp.ones(values.shape[-1], values.dtype)
    checks.shape("weights", weights, values.shape[-1:])
    checks.positive("weights", weights)
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    weights = jax.lax.stop_gradient(jnp.broadcast_to(weights.astype(wide.dtype), wide.shape))
    return _isotonic(wide, weights).astype(values.dtype)


def pinball(
    values: Float[Array, "... Q"], levels: Float[Array, " Q"], outcome: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Pinball loss summed over levels: sum_q max(tau_q (y - v_q), (tau_q - 1) (y - v_q)), >= 0.

    Twice this, over Q, is the weighted interval score of the set.

    Raises:
      ValueError: levels outside [0, 1] or not `[Q]`.
    """
    checks.shape("levels", levels, values.shape[-1:])
    checks.in_range("levels", levels, 0, 1)
    gap = outcome[..., None] - values
    tau = jnp.broadcast_to(jnp.asarray(levels, values.dtype), gap.shape)
    return jnp.sum(jnp.maximum(tau * gap, (tau - 1) * gap), axis=-1)


def pinball_increase(
    repair: Callable[[Array], Array], values: Float[Array, "... Q"], levels: Float[Array, " Q"],
    outcome: Float[Array, "..."],
) -> Float[Array, "..."]:  # fmt: skip
    """Pinball loss of the repaired set less that of the given one: <= 0 for `sorted_quantiles` and `isotonic`, whatever
    the outcome, for nondecreasing levels. Theorem T20 (`fakoor:23`)."""
    return pinball(repair(values), levels, outcome) - pinball(values, levels, outcome)


def partial_pool(
    x: Float[Array, "G N D"], mask: Bool[Array, "G N"], within: Float[Array, "*D"], between: Float[Array, "*D"],
) -> Float[Array, "G D"]:  # fmt: skip
    """Group means shrunk towards their common mean: m + b_g (mean_g - m), b_g = T / (T + S / n_g).

    The posterior mean of group levels N(m, T) with observations of variance S around them. m weighs group means by the
    inverse of their variances T + S / n_g. An empty group gets m; without any element all get 0.

    Args:
      within: S >= 0, `[]` or `[D]`.
      between: T >= 0, likewise; 0 pools completely. S and T must not both be 0.

    Raises:
      ValueError: negative variances, or both 0; for `x` and `mask` as `set_pool`.
    """
    for name, value in (("within", within), ("between", between)):
        checks.in_range(name, value, 0, jnp.finfo(jnp.float32).max)
    if checks.is_concrete(within, between):
        lowest = np.min(np.asarray(within) + np.asarray(between))  # NumPy: under `jit` jnp would make it a tracer
        checks.require(lowest > 0, "within + between", "be positive", lowest)
    means = set_pool(x, "mean", mask=mask)
    count = jnp.sum(mask, axis=1)[:, None].astype(means.dtype)
    within, between = (jnp.broadcast_to(jnp.asarray(v, means.dtype), means.shape[1:])[None] for v in (within, between))
    # n / (n T + S) is the precision of a group's mean; 0 for an empty group.
    there = count > 0
    precision = jnp.where(there, count / jnp.where(there, count * between + within, 1), 0)
    total = jnp.sum(precision, axis=0, keepdims=True)
    common = jnp.sum(precision * means, axis=0, keepdims=True) / jnp.where(total > 0, total, 1)
    return common + precision * between * (means - common)


def permutation_mixture(
    log_likelihood: Callable[[Array], Array], x: Array, key: Key, draws: int = 8, *, mixture: bool = False
) -> Float[Array, "..."]:
    """Log-likelihood of a collection under a model of sequences, averaged over random orders.

    Args:
      log_likelihood: of `[N, ...]` elements in their order.
      x: `[N, ...]`.
      draws: random orders, >= 1.
      mixture: True for the logarithm of the mean likelihood, which the mean of the logarithms never exceeds (Jensen).
    """
    checks.at_least("draws", draws, 1)
    orders = jax.vmap(lambda one: jax.random.permutation(one, x.shape[0]))(jax.random.split(key, draws))
    found = jax.lax.map(lambda order: log_likelihood(x[order]), orders)
    if mixture:
        return jax.nn.logsumexp(found, axis=0) - jnp.log(jnp.asarray(draws, found.dtype))
    return jnp.mean(found, axis=0)


def example(key: Key) -> dict[str, Operator]:
    """Both repairs of five quantiles, and partial pooling within a batch of two collections of groups."""
    one, other = jax.random.split(key)
    values = jax.random.normal(one, (3, 5))
    groups = jax.random.normal(other, (2, 5, 3, 1))
    mask = jnp.array([[True, False, True, True, False], [True] * 5])

    def shrunk(_, x, mask):  # a batch of collections of five groups, of which some are empty
        inside = jnp.broadcast_to(mask[..., None], x.shape[:3])
        return jax.vmap(functools.partial(partial_pool, within=0.5, between=1.0))(x, inside)

    return {
        "sorted quantiles": Operator(
            lambda _, x, mask: sorted_quantiles(x), (), values, "values in order", "fakoor:23"
        ),
        "isotonic quantiles": Operator(
            lambda _, x, mask: isotonic(x), (), values, "argmin over monotone y of |y - x|^2", "fakoor:23"
        ),
        "partial pooling": Operator(shrunk, (), groups, "m + T / (T + S / n_g) (mean_g - m)", "efron:75", "", mask),
    }
