"""Random numbers of the simulators: a function of (key, step, node) alone.

The generator, the event of a step and the discards of the closed form are `pallas_kernels.match_scan.draws`, which
kernels share; here are the keys, who arrives, and the stream of pivotal sampling's proposals.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.match_scan.draws import (
    GRID,
    STEPS_PER_DRAW,
    Event,
    discard_uniforms,
    discard_words,
    encrypt,
    event,
    half_word,
    odds,
    on_grid,
    uniform,
)
from research.core import validate as checks
from research.core.types import Array, Float, Key, UInt

__all__ = [
    "GRID", "STEPS_PER_DRAW", "Event", "arrival", "discard_uniforms", "discard_words", "event", "half_word",
    "key_words", "odds", "on_grid", "proposal_uniforms",
]  # fmt: skip

_PROPOSALS = 2 << 28  # in the counter of a node; discards have theirs below


def key_words(key: Key) -> tuple[UInt[Array, "..."], UInt[Array, "..."]]:
    """The two words of a threefry2x32 key, or of an array of keys.

    Raises: ValueError for another kind of key.
    """
    kind = str(jax.random.key_impl(key))
    checks.require(kind == "threefry2x32", "key", "be of kind threefry2x32", kind)
    data = jax.random.key_data(key)
    return data[..., 0], data[..., 1]


def arrival(drawn: Event, arrivals: Float[Array, " J"]) -> tuple:
    """Whether somebody arrives, and the type: the first whose cumulative probability exceeds the uniform."""
    passed = jnp.cumsum(arrivals.astype(jnp.float32)) <= drawn.arrival
    kind = jnp.sum(passed.astype(jnp.int32))
    return kind < arrivals.shape[0], jnp.minimum(kind, arrivals.shape[0] - 1)


def proposal_uniforms(words: tuple, step: Array, nodes: UInt[Array, "..."]) -> tuple:
    """Two independent uniforms for each node and step: for its proposal, and for what becomes of it."""
    high, low = encrypt(words, step, nodes.astype(jnp.uint32) + jnp.uint32(_PROPOSALS))
    return uniform(high >> 8), uniform(low >> 8)
