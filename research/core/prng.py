"""Randomness as a function of (seed, stream name, replicate, step), and of nothing else.

Not of batch size, chunk, device count or resume: whoever asks for step 1,000 of replicate 7 of stream "arrivals" gets
the same numbers. The generator is pinned to threefry2x32, whose draws do not depend on how an array is sharded.
"""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp

from research.core.types import Array, Int, Key

__all__ = ["BLOCK", "blocked", "per_replicate", "per_step", "replicate_keys", "root_key", "stream"]

#: Steps drawn together by `blocked`. Part of the definition of the draws: changing it changes every number.
BLOCK = 1024


def root_key(seed: int) -> Key:
    """The one key of a run, from its integer seed; the implementation is pinned whatever JAX's default is."""
    return jax.random.key(seed, impl="threefry2x32")


def stream(key: Key, name: str) -> Key:
    """The key of the stream called `name`. CRC-32 of the name, since Python's own hash is salted per process."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def per_replicate(key: Key, replicate: int | Int[Array, ""]) -> Key:
    """The key of one replicate, by its index among all replicates (never by device)."""
    return jax.random.fold_in(key, replicate)


def replicate_keys(key: Key, num_replicates: int, first: int = 0) -> Key:
    """Keys `[num_replicates]` of replicates first, first + 1, ...; a prefix of any longer list of them."""
    return jax.vmap(lambda r: per_replicate(key, r))(first + jnp.arange(num_replicates))


def per_step(key: Key, step: int | Int[Array, ""]) -> Key:
    """The key of one step. Costs ten times a draw inside a scan: long loops take `blocked` instead."""
    return jax.random.fold_in(key, step)


def blocked(
    sampler: Callable[[Key, int], Array], key: Key, start: int | Int[Array, ""], num_steps: int, *, block: int = BLOCK
) -> Array:
    """Draws of steps `start, ..., start + num_steps - 1`, made in fixed blocks keyed by block number.

    Step k always lies in block k // block and is always its (k % block)-th row, so that the draws depend on neither
    the chunk length nor where a run was resumed.

    Args:
      sampler: `(key, block) -> [block, ...]`; row i must be the draw of the block's i-th step.
      key: of the stream and replicate.
      start: first step, >= 0; may be traced.
      num_steps: how many steps, >= 1; static.
      block: steps per block; static.

    Returns:
      `[num_steps, ...]`.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be >= 1, got {num_steps}.")
    aligned = isinstance(start, int) and start % block == 0
    # An unaligned or traced start may begin on the last row of a block, so that one more block can be touched.
    num_blocks = -(-num_steps // block) if aligned else (num_steps + block - 2) // block + 1
    first = jnp.asarray(start) // block
    draws = jax.vmap(lambda b: sampler(per_step(key, b), block))(first + jnp.arange(num_blocks))
    rows = draws.reshape((num_blocks * block, *draws.shape[2:]))
    return jax.lax.dynamic_slice_in_dim(rows, jnp.asarray(start) - first * block, num_steps)
