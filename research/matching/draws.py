"""Random numbers of the simulators: a function of (key, step, node) alone, cheap enough not to be the bottleneck.

A counter-based generator encrypts (step, node) under the replicate's key, so that a draw does not depend on padding,
batch size, device, or where a run was resumed, and a kernel can make its own. Three streams share a key and never a
counter: the event of a step, the discards of the closed form, and the proposals of pivotal sampling.

A discard needs one uniform for every node and step, most of which decide nothing. So one encryption (64 bits) serves a
node for four steps, 16 bits each, and the 8 bits below those are shared by all nodes of the step. Every uniform is
exactly uniform on the multiples of 2^-24; two nodes of a step are dependent only through the shared bits, which decide
with probability 2^-16 for each: a joint probability is off by less than 2^-34.
Source: `salmon:11` for the generator; the sharing of bits is our own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels import _threefry
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key, UInt

__all__ = [
    "GRID", "STEPS_PER_DRAW", "Event", "arrival", "discard_uniforms", "discard_words", "event", "half_word",
    "key_words", "on_grid", "proposal_uniforms",
]  # fmt: skip

#: Uniforms and rates are multiples of 1 / GRID: sums of rates up to 1 are then exact in float32, in any order.
GRID = 1 << 24
#: Steps that one encryption of a node serves.
STEPS_PER_DRAW = 4
_DISCARDS, _PROPOSALS = 1 << 28, 2 << 28


class Event(NamedTuple):
    """What happens at a step, before anybody's state is known."""

    match: Float[Array, "..."]  # uniform: falls into the interval of the best proposer, or of nobody
    arrival: Float[Array, "..."]  # uniform: below p_t, somebody arrives; typed, it picks the type
    shared: UInt[Array, "..."]  # 8 bits: the lowest of every node's discard uniform


def key_words(key: Key) -> tuple[UInt[Array, "..."], UInt[Array, "..."]]:
    """The two words of a threefry2x32 key, or of an array of keys.

    Raises: ValueError for another kind of key.
    """
    kind = str(jax.random.key_impl(key))
    checks.require(kind == "threefry2x32", "key", "be of kind threefry2x32", kind)
    data = jax.random.key_data(key)
    return data[..., 0], data[..., 1]


def on_grid(rates: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rates in [0, 1], float32, rounded to the grid of the uniforms they are compared with."""
    return jnp.round(rates.astype(jnp.float32) * GRID) / GRID


def event(words: tuple, step: Array) -> Event:
    """The event of a step; shapes follow the words of the key."""
    high, low = _encrypt(words, step, jnp.uint32(0))
    return Event(_uniform(high >> 8), _uniform(low >> 8), high & jnp.uint32(0xFF))


def arrival(drawn: Event, arrivals: Float[Array, " J"]) -> tuple:
    """Whether somebody arrives, and the type: the first whose cumulative probability exceeds the uniform."""
    passed = jnp.cumsum(arrivals.astype(jnp.float32)) <= drawn.arrival
    kind = jnp.sum(passed.astype(jnp.int32))
    return kind < arrivals.shape[0], jnp.minimum(kind, arrivals.shape[0] - 1)


def discard_words(words: tuple, block: Array, nodes: UInt[Array, "..."]) -> tuple:
    """Two words for each node: the discards of steps 4 * block, ..., 4 * block + 3."""
    return _encrypt(words, block, nodes.astype(jnp.uint32) + jnp.uint32(_DISCARDS))


def half_word(part: Int[Array, ""]) -> tuple:
    """Which of the two `discard_words` serves step 4 * block + part, and where its 16 bits begin."""
    return part // 2, (16 * (part % 2)).astype(jnp.uint32)


def discard_uniforms(word: UInt[Array, "..."], begin: Array, shared: UInt[Array, "..."]) -> Float[Array, "..."]:
    """Uniforms from `half_word`: 16 bits of the node's own above the 8 that the step shares."""
    return _uniform((((word >> begin) & jnp.uint32(0xFFFF)) << 8) | shared)


def proposal_uniforms(words: tuple, step: Array, nodes: UInt[Array, "..."]) -> tuple:
    """Two independent uniforms for each node and step: for its proposal, and for what becomes of it."""
    high, low = _encrypt(words, step, nodes.astype(jnp.uint32) + jnp.uint32(_PROPOSALS))
    return _uniform(high >> 8), _uniform(low >> 8)


def _encrypt(words, high, low):
    shape = jnp.broadcast_shapes(jnp.shape(words[0]), jnp.shape(high), jnp.shape(low))
    spread = [jnp.broadcast_to(jnp.asarray(x, jnp.uint32), shape) for x in (*words, high, low)]
    return _threefry.threefry_2x32(tuple(spread[:2]), tuple(spread[2:]))


def _uniform(bits):
    """[0, 1) from 24 bits. By way of int32: the conversion of uint32 is slow on CPUs."""
    return bits.astype(jnp.int32).astype(jnp.float32) * jnp.float32(1 / GRID)
