"""`lax.top_k` and a histogram by scatter: the path of CPUs, of GPUs and of float64. Source: as `reference.py`."""

import jax
import jax.numpy as jnp

__all__ = ["topk_route"]


def topk_route(scores, bias, valid, *, k, threshold):
    """Same contract as `api.topk_route`, as a tuple; not differentiable."""
    num_experts = scores.shape[1]
    value, index = jax.lax.top_k(scores + bias[None], k + 1 if threshold else k)
    chosen = jnp.take_along_axis(scores, index[:, :k], axis=1)
    index = jnp.where(valid[:, None], index[:, :k], num_experts)
    load = jnp.zeros(num_experts + 1, jnp.int32).at[index].add(1)[:num_experts]
    return index, jnp.where(valid[:, None], chosen, 0), load, value[:, k] if threshold else None
