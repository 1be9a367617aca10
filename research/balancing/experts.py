"""Outputs of routed experts: tokens sorted by expert, in blocks of one expert each; nothing is dropped.

Letters: `T` tokens, `S` slots of each, `E` experts, `d` width, `f` hidden width of an expert.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float, Int

__all__ = ["PATHS", "experts"]

PATHS = ("blocked",)


def experts(
    x: Float[Array, "T d"], index: Int[Array, "T S"], gate: Float[Array, "T S"], params: Mapping[str, Array],
    path: str = "blocked", block: int = 64,
) -> Float[Array, "T d"]:  # fmt: skip
    """sum_s gate_s down(silu(gate(x)) * up(x)) of each token's experts; indices of E and above add nothing.

    Args:
      params: "gate" and "up" `[E, d, f]`, "down" `[E, f, d]`.
    """
    checks.one_of("path", path, PATHS)
    (tokens, slots), (num_experts, width, _) = index.shape, params["gate"].shape
    flat = index.reshape(-1)
    order = jnp.argsort(flat, stable=True)
    owner = jnp.minimum(flat[order], num_experts - 1)
    counts = jnp.zeros(num_experts + 1, jnp.int32).at[jnp.minimum(flat, num_experts)].add(1)[:num_experts]
    blocks = -(-counts // block)
    last_block, number = jnp.cumsum(blocks), -(-tokens * slots // block) + num_experts
    rank = jnp.arange(tokens * slots) - (jnp.cumsum(counts) - counts)[owner]
    row = jnp.where(flat[order] < num_experts, (last_block - blocks)[owner] * block + rank, number * block)
    source = jnp.full(number * block + 1, tokens, jnp.int32).at[row].set(order // slots)[:-1]
    taken = jnp.concatenate([x, jnp.zeros((1, width), x.dtype)])[source].reshape(number, block, width)
    expert = jnp.minimum(jnp.searchsorted(last_block, jnp.arange(number), side="right"), num_experts - 1)
    gated = jnp.einsum("bik,bkn->bin", taken, params["gate"][expert])
    hidden = jax.nn.silu(gated) * jnp.einsum("bik,bkn->bin", taken, params["up"][expert])
    out = jnp.einsum("bik,bkn->bin", hidden, params["down"][expert]).reshape(-1, width)
    place = jnp.zeros(tokens * slots, jnp.int32).at[order].set(row.astype(jnp.int32)).reshape(index.shape)
    return jnp.einsum("tsd,ts->td", jnp.concatenate([out, jnp.zeros((1, width), x.dtype)])[place], gate.astype(x.dtype))
