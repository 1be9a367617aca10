"""Threefry-2x32, the counter-based generator behind `jax.random` keys of kind threefry2x32, for jnp and for kernels.

Word i of a stream depends on the key and on i alone, so a kernel draws its own block of a long stream, in any order,
on any device. Everything is uint32 arithmetic on arrays of one shape: add, xor, shift; it runs on blocks inside a
Pallas kernel.

Source: `salmon:11` (Threefry-2x32 with 20 rounds). Bit-equal to `jax.random` with `jax_threefry_partitionable`, the
default.
"""

import math

import jax
import jax.numpy as jnp

__all__ = ["bits", "block_bits", "normal", "threefry_2x32", "uniform", "unit_interval"]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry_2x32(key, counter):
    """Encrypts counters.

    Args:
      key: pair of uint32 words, scalars or arrays of the counters' shape.
      counter: pair of uint32 arrays of one shape, high and low word.

    Returns:
      a pair of uint32 arrays, 64 random bits for each counter.
    """
    first, second = (jnp.asarray(word, jnp.uint32) for word in key)
    schedule = (first, second, first ^ second ^ jnp.uint32(_PARITY))
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = ((y << jnp.uint32(rotation)) | (y >> jnp.uint32(32 - rotation))) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x, y


def block_bits(key, counter):
    """32 random bits for each counter below 2^32: word i of the stream of `key` is `block_bits(key, i)`.

    Args:
      key: pair of uint32 words, `jax.random.key_data(key)`.
      counter: uint32 array of positions in the stream, of any shape; inside a kernel, an iota plus the block's start.
    """
    high, low = threefry_2x32(key, (jnp.zeros_like(counter), counter))
    return high ^ low


def unit_interval(word, dtype=jnp.float32):
    """float32 in [0, 1) from 32 random bits, as `jax.random.uniform` makes it: 23 bits of mantissa."""
    one = jnp.float32(1)
    mantissa = (word >> jnp.uint32(9)) | jax.lax.bitcast_convert_type(one, jnp.uint32)
    return (jax.lax.bitcast_convert_type(mantissa, jnp.float32) - one).astype(dtype)


def bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`jax.random.bits(key, shape)` for a typed threefry2x32 key; fewer than 2^32 words.

    Raises:
      ValueError: another kind of key, or too many words.
    """
    if str(jax.random.key_impl(key)) != "threefry2x32":
        raise ValueError(f"key must be of kind threefry2x32, got {jax.random.key_impl(key)}.")
    size = math.prod(shape)
    if size >= 1 << 32:
        raise ValueError(f"shape must have fewer than 2**32 elements, got {size}.")
    words = jax.random.key_data(key)
    return block_bits((words[0], words[1]), jax.lax.iota(jnp.uint32, size).reshape(shape))


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 in [0, 1), equal to `jax.random.uniform(key, shape)`."""
    return unit_interval(bits(key, shape))


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 standard normal by the inverse error function, equal to `jax.random.normal(key, shape)`."""
    low = jnp.nextafter(jnp.float32(-1), jnp.float32(0))
    open_interval = jnp.maximum(low, unit_interval(bits(key, shape)) * (jnp.float32(1) - low) + low)
    return jnp.float32(math.sqrt(2)) * jax.lax.erf_inv(open_interval)
