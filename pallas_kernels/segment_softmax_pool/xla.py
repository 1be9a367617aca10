"""Three reductions over segments, each a pass over the elements: what runs where the kernel does not.

Source: as `reference.py`.
"""

import jax
import jax.numpy as jnp

__all__ = ["LOWEST", "backward", "forward"]

#: Largest score of nothing. Finite: the difference of two infinities is not a number.
LOWEST = -1e30


def forward(scores, values, ids, valid, *, num_segments):
    """Largest score (0 for none), sum of exp(score - largest), and pooled values, of each segment.

    Args:
      scores: `[M]` or `[M, D]`.
      values: `[M, D]` or None.
      ids: `[M]` int32 in [0, G), not decreasing.
      valid: `[M]` bool.

    Returns:
      `[G]` or `[G, D]`, the same again, and `[G, D]` or None.
    """
    each, live = _columns(scores), valid[:, None]
    top = _reduced(jax.ops.segment_max, jnp.where(live, each, -jnp.inf), ids, num_segments)
    top = jnp.where(top <= LOWEST, 0, top)
    weights = _weights(each, live, top, ids)
    total = _reduced(jax.ops.segment_sum, weights, ids, num_segments)
    pooled = None
    if values is not None:
        weighted = _reduced(jax.ops.segment_sum, jnp.where(live, weights * values, 0), ids, num_segments)
        pooled = jnp.where(total == 0, 0, weighted / jnp.where(total == 0, 1, total))
    return _like(scores, top), _like(scores, total), pooled


def backward(scores, values, ids, valid, top, pull, lift):
    """Slopes of scores and values: exp(score - top) times pull . value - lift, and times pull, an element's segment's.

    Args:
      top: as from `forward`.
      pull: `[G, D]`, None without values.
      lift: `[G]` or `[G, D]`, like top.
    """
    live = valid[:, None]
    weights = _weights(_columns(scores), live, _columns(top), ids)
    height = -_columns(lift)[ids]
    of_values = None
    if values is not None:
        pull = pull[ids]
        product = jnp.where(live, pull * values, 0)
        height += jnp.sum(product, axis=1, keepdims=True) if scores.ndim == 1 else product
        of_values = jnp.where(live, weights * pull, 0)
    return _like(scores, jnp.where(live, weights * height, 0)), of_values


def _columns(scores):
    return scores[:, None] if scores.ndim == 1 else scores


def _like(scores, found):
    return found[:, 0] if scores.ndim == 1 else found


def _reduced(segment, elements, ids, num_segments):
    return segment(elements, ids, num_segments=num_segments, indices_are_sorted=True)


def _weights(each, live, top, ids):
    return jnp.where(live, jnp.exp(each - top[ids]), 0)
