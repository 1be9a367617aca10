"""`lax.top_k` and a histogram by scatter: the path of GPUs, and of TPUs where the kernel is not; CPUs have their own.

Source: as `reference.py`.
"""

import jax
import jax.numpy as jnp

__all__ = ["counted", "topk_route"]


def topk_route(scores, bias, valid, *, k, threshold):
    """Same contract as `api.topk_route`, as a tuple; not differentiable."""
    biased = scores + bias[None]
    biased = jnp.where(biased == 0, 0, biased)  # to `top_k` one zero is larger than the other
    value, index = jax.lax.top_k(biased, k + 1 if threshold else k)
    index = index[:, :k]
    chosen = jnp.take_along_axis(scores, index, axis=1)
    return *counted(index, chosen, valid, scores.shape[1]), value[:, k] if threshold else None


def counted(index, chosen, valid, num_experts):
    """Experts, scores and loads, less the tokens that are not valid."""
    index = jnp.where(valid[:, None], index, num_experts)
    load = jnp.zeros(num_experts + 1, jnp.int32).at[index].add(1)[:num_experts]
    return index, jnp.where(valid[:, None], chosen, 0), load
