"""What `match_scan` takes and returns, and what its implementations know of a plan before any draw."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.match_scan import draws

__all__ = ["Output", "Plan", "drawn", "safe"]


class Plan(NamedTuple):
    """All times, prepared once: `T` times, a multiple of `draws.STEPS_PER_DRAW`, `J` types, `n` nodes."""

    order: jax.Array  # [T, J, n] int32: a permutation of the nodes by decreasing weight, those that do not propose last
    weights: jax.Array  # [T, J, n] float32, in that order
    rates: jax.Array  # [T, J, n] float32 in [0, 1], in that order, on the grid of the uniforms
    proposing: jax.Array  # [T, J] int32: how many nodes to visit; those behind have rate 0, or the type never arrives
    arrivals: jax.Array  # [T, J] float32 in [0, 1]: probability that the type arrives, their sum at most 1


class Output(NamedTuple):
    """`R` replicates."""

    value: jax.Array  # [R] float32: weight matched
    free: jax.Array | None  # [T + 1, n] int32: replicates in which the node is free before the time; None unless asked


def safe(plan: Plan) -> jax.Array:
    """`[T, J]` int32: how many nodes are visited before the rates may add up to more than 1.

    Nobody among them is ever discarded for this type. Exact: sums on the grid are, until they exceed 1.
    """
    ahead = jnp.pad(jnp.cumsum(plan.rates, axis=-1), ((0, 0), (0, 0), (1, 0)))[..., :-1]
    position = jnp.arange(plan.rates.shape[-1], dtype=jnp.int32)
    first = jnp.min(jnp.where(plan.rates > 1 - ahead, position[None, None], position.shape[0]), axis=-1)
    return jnp.minimum(first, plan.proposing).astype(jnp.int32)


def drawn(plan: Plan) -> tuple[jax.Array, jax.Array]:
    """The nodes that may be discarded in a block of `STEPS_PER_DRAW` times: all others need no uniforms.

    Returns: `[blocks, n]` int32, those nodes first, and `[blocks]` int32, how many they are.
    """
    num_steps, _, num_nodes = plan.order.shape
    position = jnp.arange(num_nodes, dtype=jnp.int32)[None, None]
    risky = (position >= safe(plan)[..., None]) & (position < plan.proposing[..., None])
    risky = jnp.take_along_axis(risky, jnp.argsort(plan.order, axis=-1), axis=-1)
    risky = jnp.any(risky.reshape(num_steps // draws.STEPS_PER_DRAW, -1, num_nodes), axis=1)
    return jnp.argsort(~risky, axis=-1, stable=True).astype(jnp.int32), jnp.sum(risky, axis=-1, dtype=jnp.int32)
