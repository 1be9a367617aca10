"""`lax.top_k` and a histogram by compares: the oracle of every test of this package. Source: `wang:24`, Algorithm 1."""

import jax
import jax.numpy as jnp

__all__ = ["topk_route"]


def topk_route(scores, bias, valid, *, k, threshold):
    """Same contract as `api.topk_route`, as a tuple; differentiable as it stands."""
    num_experts = scores.shape[1]
    biased = jax.lax.stop_gradient(scores) + jax.lax.stop_gradient(bias)[None]
    biased = jnp.where(biased == 0, 0, biased)  # to `top_k` one zero is larger than the other
    value, index = jax.lax.top_k(biased, k + 1 if threshold else k)
    chosen = jnp.take_along_axis(scores, index[:, :k], axis=1)
    index = jnp.where(valid[:, None], index[:, :k], num_experts)
    load = jnp.sum(index[:, :, None] == jnp.arange(num_experts)[None, None], axis=(0, 1), dtype=jnp.int32)
    return index, jnp.where(valid[:, None], chosen, 0), load, value[:, k] if threshold else None
