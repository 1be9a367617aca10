"""How well scores rank positives above negatives: exact areas from one sort, equal scores included.

Counts are exact integers; only their shares are rounded. What is not known takes no part, whatever stands there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Bool, Float, Int

__all__ = ["average_precision", "roc_auc"]


class _Ranked(NamedTuple):
    """Examples by falling score, those that are not known among the last; counts of what scores at least as much."""

    positive: Bool[Array, "N"]
    positives: Int[Array, "N"]  # with at least this score
    others: Int[Array, "N"]
    others_above: Int[Array, "N"]  # with more than this score


def roc_auc(scores: Float[Array, "N"], labels: Array, known: Bool[Array, "N"]) -> Float[Array, ""]:
    """Chance that a random positive scores above a random negative, equal scores counted half, in [0, 1].

    Args:
      scores: `[N]`.
      labels: `[N]`, positive where not 0.
      known: which take part.

    Returns:
      NaN where one of the classes has no example, or a score that takes part is NaN.
    """
    ranked = _rank(scores, labels, known)
    below = ranked.others[-1] - ranked.others
    equal = ranked.others - ranked.others_above
    won = (below + 0.5 * equal) / ranked.others[-1]
    return _checked(jnp.sum(jnp.where(ranked.positive, won, 0)) / ranked.positives[-1], scores, known)


def average_precision(scores: Float[Array, "N"], labels: Array, known: Bool[Array, "N"]) -> Float[Array, ""]:
    """Mean over positives of the precision among all that score at least as much, in [0, 1]. Arguments as `roc_auc`.

    NaN where there is no positive, or a score that takes part is NaN.
    """
    ranked = _rank(scores, labels, known)
    precision = ranked.positives / jnp.maximum(ranked.positives + ranked.others, 1)
    return _checked(jnp.sum(jnp.where(ranked.positive, precision, 0)) / ranked.positives[-1], scores, known)


def _rank(scores: Array, labels: Array, known: Array) -> _Ranked:
    validate.require(jnp.ndim(scores) == 1 and jnp.size(scores) > 0, "scores", "have shape (N,)", jnp.shape(scores))
    validate.shape("labels", labels, jnp.shape(scores))
    validate.shape("known", known, jnp.shape(scores))
    validate.require(known.dtype == bool, "known", "hold booleans", known.dtype)
    # One key and one value, since compilers take minutes for more; what is not known may share the place of a score of
    # minus infinity, for it is not counted.
    kind = jnp.where(known, jnp.where(labels != 0, 2, 1), 0)
    falling, kind = jax.lax.sort((jnp.where(known, -scores, jnp.inf), kind), num_keys=1)
    positive = kind == 2
    counts = jnp.cumsum(jnp.stack([positive, kind == 1]), axis=1, dtype=jnp.int32)
    place = jnp.arange(scores.size)
    new = jnp.concatenate([jnp.ones(1, bool), falling[1:] != falling[:-1]])
    # The places of the first and of the last with the same score.
    first = jax.lax.cummax(jnp.where(new, place, 0))
    ends = jnp.concatenate([new[1:], jnp.ones(1, bool)])
    last = jax.lax.cummin(jnp.where(ends, place, scores.size), reverse=True)
    others_above = jnp.where(first > 0, counts[1][first - 1], 0)
    return _Ranked(positive, counts[0][last], counts[1][last], others_above)


def _checked(value: Array, scores: Array, known: Array) -> Array:
    return jnp.where(jnp.any(known & jnp.isnan(scores)), jnp.nan, value)
