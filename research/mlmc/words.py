"""Random words as a function of (seed, replicate, place in the tree), of nothing else.

A node of the tree has a key of two uint32 words. Key and counter of one Threefry-2x32 block, T(key; x0, x1), say what
is drawn; the second counter word begins with a tag, so that no two purposes share a block:

    key of a replicate        T(seed; low word of its id, high word of its id)
    key of an interior child  T(key of the parent; c, CHILD)
    variates of a node        words 2q, 2q + 1 are T(key; q, NODE)
    variates of a leaf        words 2q, 2q + 1 are T(key of the parent; c, LEAF + q)
    level of a node           words 2q, 2q + 1 are T(key; q, LEVEL)
    shifts of a leaf net      words 2q, 2q + 1 are T(key of the parent; 2**32 - 1, LEAF + q)

A leaf never gets a key: up to two variates cost one block. The words of a replicate hence depend on neither tiles,
batches nor devices.
Source: `salmon:11` for Threefry; the counters are ours.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._threefry import threefry_2x32
from research.core import prng
from research.core.types import Array, Float, Key, UInt

__all__ = [
    "CHILD", "LEAF", "LEVEL", "NODE", "Words", "child_keys", "join", "leaf_words", "level_words", "next_ids",
    "node_words", "normal", "replicate_keys", "seed_words", "shift_words", "split", "uniform", "variates",
]  # fmt: skip

CHILD, NODE, LEAF, LEVEL = 0x10000000, 0x20000000, 0x30000000, 0x40000000
#: Most blocks that are written out one after the other.
_UNROLLED = 2
#: The child number that no leaf has, for the shifts of a leaf net.
_SHIFT = 0xFFFFFFFF

#: Two uint32 arrays of one shape: a key, or the low and high word of a 64-bit number.
Words = tuple[UInt[Array, "..."], UInt[Array, "..."]]


def seed_words(key: Key, stream: str) -> UInt[Array, " 2"]:
    """The two words with which a method begins: those of a named stream of a key of kind threefry2x32."""
    return jax.random.key_data(prng.stream(key, stream)).astype(jnp.uint32)


def split(numbers) -> tuple[np.ndarray, np.ndarray]:
    """Low and high words of integers in [0, 2**64), on the host.

    Raises: ValueError for another value.
    """
    wide = np.asarray(numbers)
    if wide.dtype.kind not in "iu":  # beyond int64 NumPy makes floats or objects of a list
        wide = np.asarray(numbers, object)
    if wide.size and (wide.dtype.kind == "O" or wide.min() < 0):
        for number in wide.ravel():
            if int(number) != number or not 0 <= int(number) < 1 << 64:
                raise ValueError(f"ids must be integers in [0, 2**64), got {number}.")
    wide = wide.astype(np.uint64)
    return (wide & np.uint64(0xFFFFFFFF)).astype(np.uint32), (wide >> np.uint64(32)).astype(np.uint32)


def join(words) -> np.ndarray:
    """The uint64 numbers of low and high words, on the host."""
    low, high = (np.asarray(word).astype(np.uint64) for word in words)
    return low | (high << np.uint64(32))


def next_ids(ids: Words, step: int | UInt[Array, "..."]) -> Words:
    """64-bit numbers plus `step`, in [0, 2**32), modulo 2**64; shapes broadcast."""
    low = ids[0] + jnp.asarray(step, jnp.uint32)
    return low, ids[1] + (low < ids[0]).astype(jnp.uint32)


def _block(keys: Words, first, second) -> Words:
    return threefry_2x32(keys, (jnp.asarray(first, jnp.uint32), jnp.asarray(second, jnp.uint32)))


def replicate_keys(seed: Words, ids: Words) -> Words:
    """Keys of replicates, of the shape of the words of their ids."""
    return threefry_2x32(seed, ids)


def child_keys(keys: Words, c: UInt[Array, " N"]) -> Words:
    """Keys of interior children number c of nodes with the given keys."""
    return _block(keys, c, CHILD)


def _words(keys: Words, count: int, counter) -> UInt[Array, "V N"] | list[UInt[Array, " N"]]:
    """The first `count` words of blocks `counter(0), counter(1), ...`."""
    number = -(-count // 2)
    if number <= _UNROLLED:
        blocks = [_block(keys, *counter(q)) for q in range(number)]
        return [word for block in blocks for word in block][:count]
    # One block of code for all of them: a hundred in a row would take minutes to compile.
    q = jnp.arange(number, dtype=jnp.uint32).reshape(-1, *(1,) * keys[0].ndim)
    counters = (jnp.broadcast_to(jnp.asarray(x, jnp.uint32), (number, *keys[0].shape)) for x in counter(q))
    blocks = jnp.stack(_block(tuple(jnp.broadcast_to(key, (number, *key.shape)) for key in keys), *counters), axis=1)
    return blocks.reshape(2 * number, *keys[0].shape)[:count]


def node_words(keys: Words, count: int) -> UInt[Array, "V N"] | list[UInt[Array, " N"]]:
    """`count` words for the variates of nodes."""
    return _words(keys, count, lambda q: (q, NODE))


def leaf_words(keys: Words, c: UInt[Array, " N"], count: int) -> UInt[Array, "V N"] | list[UInt[Array, " N"]]:
    """`count` words for the variates of leaves number c, from the keys of their parents."""
    return _words(keys, count, lambda q: (c, LEAF + q))


def shift_words(keys: Words, count: int) -> UInt[Array, "V N"] | list[UInt[Array, " N"]]:
    """`count` words, one for each coordinate of the leaf net of a node."""
    return _words(keys, count, lambda q: (_SHIFT, LEAF + q))


def level_words(keys: Words, q: int = 0) -> Words:
    """Words 2q and 2q + 1 for the level of a node."""
    return _block(keys, q, LEVEL)


def _centred(word: UInt[Array, "..."]) -> jax.Array:
    # Through int32: chips convert no unsigned number to a float.
    return (word >> jnp.uint32(9)).astype(jnp.int32)


def uniform(word: UInt[Array, "..."], dtype=jnp.float32) -> Float[Array, "..."]:
    """((word >> 9) + 1/2) 2**-23: in (0, 1), never 0 or 1, symmetric about 1/2, exact in float32.

    24 bits of the word would not do: (w >> 8) 2**-24 + 2**-25 rounds to 1 in float32 for the largest word.
    """
    return (_centred(word).astype(dtype) + 0.5) * 2.0**-23


def normal(word: UInt[Array, "..."], dtype=jnp.float32) -> Float[Array, "..."]:
    """sqrt(2) erfinv(2u - 1) for the u of `uniform`: |x| <= 5.2947, symmetric."""
    # 2u - 1 = ((word >> 9) - 2**22 + 1/2) 2**-22, without a rounding.
    centred = ((_centred(word) - (1 << 22)).astype(dtype) + 0.5) * 2.0**-22
    return math.sqrt(2) * jax.lax.erf_inv(centred)


_LAWS = {"normal": normal, "uniform": uniform}


def variates(
    words: UInt[Array, "V N"] | list[UInt[Array, " N"]], kinds: tuple[str, ...], dtype=jnp.float32
) -> Float[Array, "N V"]:
    """Variates of the named laws (`problems.KINDS`), one from each word; `words` is not empty."""
    if len(set(kinds)) == 1:
        return _LAWS[kinds[0]](jnp.moveaxis(jnp.stack(words) if isinstance(words, list) else words, 0, -1), dtype)
    return jnp.stack([_LAWS[kind](word, dtype) for word, kind in zip(words, kinds, strict=True)], axis=-1)
