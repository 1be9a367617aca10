"""Random numbers of the rounding: a function of (key, step, node) alone, cheap enough not to be the bottleneck.

A counter-based generator encrypts (step, node) under the replicate's key, so that a draw does not depend on padding,
batch size, device, or where a run was resumed, and a kernel makes its own. Streams share a key and never a counter:
here the event of a step, and the discards of the closed form.

A discard needs one uniform for every node and step, most of which decide nothing. So one encryption (64 bits) serves a
node for four steps, 16 bits each, and the 8 bits below those are shared by all nodes of the step. Every uniform is
exactly uniform on the multiples of 2^-24; two nodes of a step are dependent only through the shared bits, which decide
with probability 2^-16 for each: a joint probability is off by less than 2^-34.

Decisions are the same on every backend. Sums of rates up to 1 are exact, and a product is only ever compared: no
compiler can fuse it with an addition, which some do and some do not. Hence `odds`, an inverse in integers.
Source: `salmon:11` for the generator; the sharing of bits is our own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels import _threefry

__all__ = [
    "DISCARDS", "GRID", "STEPS_PER_DRAW", "Event", "discard_uniforms", "discard_words", "encrypt", "event", "half_word",
    "odds", "on_grid", "uniform",
]  # fmt: skip

#: Uniforms and rates are multiples of 1 / GRID: sums of rates up to 1 are then exact in float32, in any order.
GRID = 1 << 24
#: Steps that one encryption of a node serves.
STEPS_PER_DRAW = 4
#: Added to the node in the counter of its discards.
DISCARDS = 1 << 28


class Event(NamedTuple):
    """What happens at a step, before anybody's state is known; shapes follow the words of the key."""

    match: jax.Array  # float32 uniform: falls into the interval of the best proposer, or of nobody
    arrival: jax.Array  # float32 uniform: below p_t, somebody arrives; typed, it picks the type
    shared: jax.Array  # uint32, 8 bits: the lowest of every node's discard uniform


def on_grid(rates):
    """Rates in [0, 1], float32, rounded to the grid of the uniforms they are compared with."""
    return jnp.round(rates.astype(jnp.float32) * GRID) / GRID


def odds(arrivals):
    """1 / p as float32, p in [0, 1] rounded up to the grid; infinite for p = 0. The same bits on every backend.

    Long division of GRID by p * GRID: digits of 8 bits, whose remainders fit 32 bits.
    """
    whole = jnp.ceil(arrivals.astype(jnp.float32) * GRID).astype(jnp.int32).astype(jnp.uint32)
    divisor = jnp.maximum(whole, jnp.uint32(1))
    quotient, remainder = GRID // divisor, GRID % divisor
    fraction = jnp.zeros_like(quotient)
    for _ in range(3):
        remainder = remainder << jnp.uint32(8)
        fraction = (fraction << jnp.uint32(8)) | (remainder // divisor)
        remainder = remainder % divisor
    return jnp.where(whole > 0, quotient.astype(jnp.int32).astype(jnp.float32) + uniform(fraction), jnp.inf)


def event(words, step) -> Event:
    """The event of a step, for keys of two `words`."""
    high, low = encrypt(words, step, jnp.uint32(0))
    return Event(uniform(high >> jnp.uint32(8)), uniform(low >> jnp.uint32(8)), high & jnp.uint32(0xFF))


def discard_words(words, block, nodes):
    """Two words for each node: the discards of steps 4 * block, ..., 4 * block + 3."""
    return encrypt(words, block, nodes.astype(jnp.uint32) + jnp.uint32(DISCARDS))


def half_word(part):
    """Which of the two `discard_words` serves step 4 * block + part, and where its 16 bits begin."""
    return part // 2, jnp.asarray(16 * (part % 2), jnp.uint32)


def discard_uniforms(word, begin, shared):
    """Uniforms from `half_word`: 16 bits of the node's own above the 8 that the step shares."""
    return uniform((((word >> begin) & jnp.uint32(0xFFFF)) << jnp.uint32(8)) | shared)


def encrypt(words, high, low):
    """64 random bits, as two words, for each counter (high, low) under each key; all broadcast."""
    shape = jnp.broadcast_shapes(jnp.shape(words[0]), jnp.shape(high), jnp.shape(low))
    spread = [jnp.broadcast_to(jnp.asarray(x, jnp.uint32), shape) for x in (*words, high, low)]
    return _threefry.threefry_2x32(tuple(spread[:2]), tuple(spread[2:]))


def uniform(bits):
    """float32 in [0, 1) from 24 bits. By way of int32: the conversion of uint32 is slow on CPUs."""
    return bits.astype(jnp.int32).astype(jnp.float32) * jnp.float32(1 / GRID)
