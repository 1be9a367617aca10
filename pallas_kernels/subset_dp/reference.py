"""The recursion over sets in plain jnp, one gather for each node: the oracle of every test of this package.

V_T = 0 and V_t(F) = V_{t+1}(F) + sum_j p_tj max(0, max_{i in F} w_itj + V_{t+1}(F - i) - V_{t+1}(F)).
Source: `braverman:24` (the philosopher as benchmark).
"""

import jax.numpy as jnp

__all__ = ["subset_dp"]


def subset_dp(weights, arrivals, *, keep=False):
    """Same contract as `api.subset_dp`."""
    num_nodes = weights.shape[-1]
    weights = jnp.broadcast_to(weights, (*arrivals.shape, num_nodes))
    sets, bits = jnp.arange(1 << num_nodes)[:, None], jnp.left_shift(1, jnp.arange(num_nodes))[None]
    free, without = sets & bits != 0, sets & ~bits
    values = [jnp.zeros(1 << num_nodes, weights.dtype)]
    for w, p in zip(weights[::-1], arrivals[::-1], strict=True):
        now = values[-1]
        gains = jnp.where(free[None], w[:, None] + (now[without] - now[:, None])[None], 0)  # [J, S, n]
        values.append(now + jnp.sum(p[:, None] * jnp.max(gains, axis=2, initial=0), axis=0))
    return jnp.stack(values[::-1]) if keep else values[-1]
