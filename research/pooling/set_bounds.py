"""What pooling of sets is guaranteed to do: one function per theorem; tests assert them, figures draw them.

T8 weights of generalized sum pooling; T9 reordered sums; T10 associators; T11 sums on larger sets; T12 supersets. All
are derived here unless their docstring says otherwise.

Letters: `n` elements of a set, `u` the unit roundoff of a dtype.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float

__all__ = [
    "ShareMoments", "associator", "disagreeing_readout", "fold_spread", "irreducible_error", "nearest_weights",
    "reordering_error", "share_given_subset", "threshold_limits", "threshold_lipschitz", "tree_fold_difference",
]  # fmt: skip


def threshold_limits(mu: float) -> tuple[float, float]:
    """T8: 0 <= alpha_j <= 1 / mu for weights of mean 1, since they are sigmoids over mu."""
    return 0.0, 1.0 / mu


def threshold_lipschitz(mu: float) -> float:
    """T8: the spectral norm of d alpha / d a is at most 1 / (4 mu), and its rows sum to 0.

    (1/mu)(diag d - d d^T / sum d) lies between 0 and diag(d) / mu, and d = s (1 - s) <= 1/4.
    """
    return 1.0 / (4.0 * mu)


def nearest_weights(scores: Float[Array, "... n"], mu: float) -> Float[Array, "... n"]:
    """T8: where alpha tends as scores are scaled up: 1 / mu at the mu n largest, 0 elsewhere.

    With mu n not whole, the next largest has the rest of the mass. Distinct scores.
    """
    size = np.shape(scores)[-1]
    rank = jnp.argsort(jnp.argsort(-scores, axis=-1), axis=-1)
    return jnp.clip(mu * size - rank, 0, 1) / mu


def reordering_error(x: Float[Array, "... n D"], size: int | None = None) -> Float[Array, "... D"]:
    """T9: two sums of the same n numbers, added in any orders and groupings, differ by at most this.

    Each differs from the exact sum by (n - 1) u / (1 - (n - 1) u) times sum |x_i| at most (`higham:02`, section 4.2).

    Args:
      x: in the dtype that the sums are accumulated in.
      size: n, where x is padded with zeros.
    """
    size = np.shape(x)[-2] if size is None else size
    unit = (size - 1) * float(jnp.finfo(x.dtype).eps) / 2
    return 2 * unit / (1 - unit) * jnp.abs(x).sum(axis=-2)


def associator(combine: Callable[[Array, Array], Array], a: Array, b: Array, c: Array) -> Float[Array, "..."]:
    """|(a b) c - a (b c)|, the l2 norm over the last axis."""
    return jnp.linalg.norm(combine(combine(a, b), c) - combine(a, combine(b, c)), axis=-1)


def fold_spread(size: int, epsilon: float) -> float:
    """T10: left folds of n elements in any two orders differ by at most n (n - 1) epsilon.

    For a commutative operator that is 1-Lipschitz in each argument and whose `associator` is at most epsilon on what
    it reaches: exchanging two neighbours costs 2 epsilon, and n (n - 1) / 2 exchanges sort anything.
    """
    return size * (size - 1) * epsilon


def tree_fold_difference(size: int, epsilon: float) -> float:
    """T10: a balanced tree and the left fold differ by at most this; epsilon is as in `fold_spread`.

    Right operands of a tree are opened from the root down, each of n - 2 associations at a price of epsilon.
    """
    return max(size - 2, 0) * epsilon


def disagreeing_readout(readout: Callable, largest: float) -> Callable:
    """T11: a readout that agrees with `readout` on sums up to `largest` and is off by one beyond.

    No data of sets whose sums are at most `largest` tells the two apart, so that nothing in them decides what a sum
    with a fixed readout says of larger sets: only the bias of the fit does. A binary operator on a finite carrier is
    decided by sets of two and extends to all sizes by itself.
    """

    def other(total):
        return jnp.where(total > largest, readout(total) + 1, readout(total))

    return other


def irreducible_error(target: Float[Array, " K"], statistic: Sequence) -> float:
    """T12: the least mean squared error of any function of a statistic, E Var(target | statistic).

    Args:
      target: of K outcomes of equal probability.
      statistic: what the model sees of each, hashable.
    """
    target = np.asarray(target, np.float64)
    checks.same_length(target=target, statistic=statistic)
    cells: dict = {}
    for outcome, seen in enumerate(statistic):
        cells.setdefault(seen, []).append(outcome)
    return float(sum(len(cell) * target[cell].var() for cell in cells.values()) / len(target))


class ShareMoments(NamedTuple):
    """Law of a share given the subset alone."""

    mean: Float[Array, "G"]  # what the best model of S alone answers
    variance: Float[Array, "G"]  # its squared error, on average


def share_given_subset(x: Float[Array, "G N"], subset: Bool[Array, "G N"], spread: float) -> ShareMoments:
    """T12 in numbers: the share of S above the mean of V, for V of N numbers N(m, 1) with m from N(0, spread^2).

    Given S, of k elements with mean s, the mean of V is normal: its N - k unseen elements are N(m, 1) with m from
    N(k s / (k + spread^-2), 1 / (k + spread^-2)). The share's first two moments are sums of its distribution function
    over elements and pairs. The mean of the variance is what no model of S alone can go below.

    Args:
      x: V; only elements of S are read.
      subset: membership in S, not empty.
      spread: standard deviation of m, > 0.
    """
    checks.positive("spread", spread)
    size = x.shape[1]
    count = subset.sum(axis=1).astype(x.dtype)
    own = jnp.where(subset, x, 0)
    precision = count + spread**-2
    unseen = size - count
    centre = (own.sum(axis=1) + unseen * own.sum(axis=1) / precision) / size
    variance = (unseen + unseen**2 / precision) / size**2
    sure = unseen == 0  # V is S: nothing is left to draw
    scale = jnp.sqrt(jnp.where(sure, 1, variance))
    scaled = (own - centre[:, None]) / scale[:, None]
    above = jnp.where(sure[:, None], (scaled > 0).astype(x.dtype), jax.scipy.stats.norm.cdf(scaled))
    above = jnp.where(subset, above, 0)
    mean = above.sum(axis=1) / count
    both = jnp.minimum(above[:, :, None], above[:, None, :]).sum(axis=(1, 2)) / count**2
    return ShareMoments(mean, both - mean**2)
