"""Every element against every segment, `logsumexp` along elements, derivatives by autodiff: the oracle of every test.

Source: `ilse:18` for the weights; `stergiou:21` for a weight of each channel.
"""

import jax
import jax.numpy as jnp

__all__ = ["segment_softmax_pool"]


def segment_softmax_pool(scores, values, ids, valid, *, num_segments):
    """Same contract as `api.segment_softmax_pool`, as a tuple; differentiable as it stands."""
    member = ((ids[None] == jnp.arange(num_segments)[:, None]) & valid[None])[..., None]
    each = (scores[:, None] if scores.ndim == 1 else scores)[None]
    some = jnp.any(member & (each > -jnp.inf) | member & jnp.isnan(each), axis=1)
    inside = jnp.where(some[:, None], jnp.where(member, each, -jnp.inf), 0)
    log_sum = jax.nn.logsumexp(inside, axis=1)
    pooled = None
    if values is not None:
        weights = jnp.where(member, jax.nn.softmax(inside, axis=1), 0)
        pooled = jnp.sum(jnp.where(member, weights * jnp.where(member, values[None], 0), 0), axis=1)
        pooled = jnp.where(some, pooled, 0)
    log_sum = jnp.where(some, log_sum, -jnp.inf)
    return pooled, log_sum[:, 0] if scores.ndim == 1 else log_sum
