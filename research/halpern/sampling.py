"""Draws from a fixed law on n components at a price that does not grow with n: the alias method.

An inverse cumulative law in single precision knows only multiples of 2**-24, which at n = 200,000 is some percent of a
component's probability, and the estimators divide by that probability. An alias table picks a component uniformly and
keeps it or its alias by a number in [0, 1], so that the error is 2**-24 of 1/n.
Source: `walker:77`, built by one sweep over light and heavy components.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import _threefry
from research.core import validate
from research.core.types import Array, Bool, Float, Int, Key

__all__ = ["AliasTable", "alias_table", "bernoulli", "draw", "law_of", "uniform", "unit_interval"]


class AliasTable(NamedTuple):
    """Component i is kept with probability keep[i], else alias[i] is taken."""

    keep: Float[Array, "n"]  # in [0, 1]
    alias: Int[Array, "n"]


def alias_table(law: Float[Array, "n"]) -> AliasTable:
    """The table of a law with entries >= 0 that sum to 1; entries of 0 are never drawn. O(n log n), once.

    Raises ValueError for an entry outside [0, 1] or a sum more than 1e-6 from 1.
    """
    validate.in_range("law", law, 0, 1)
    if validate.is_concrete(law):
        total = float(np.sum(np.asarray(law, np.float64)))
        validate.require(abs(total - 1) <= 1e-6, "law", "sum to 1 (within 1e-6)", total)
        # The sweep's rounding errors meet in its last component: in double precision they are nothing.
        with jax.enable_x64(True):
            table = _build(jnp.asarray(law, jnp.float64))
            return AliasTable(table.keep.astype(law.dtype), table.alias)
    return _build(law)


@jax.jit
def _build(law):
    n = law.shape[0]
    mass = law * (n / jnp.sum(law))  # of mean 1
    light = mass < 1
    # Light components in front, heavy ones behind, each in its order.
    order = jnp.argsort(~light, stable=True).astype(jnp.int32)
    masses = mass[order]
    num_light = jnp.sum(light, dtype=jnp.int32)

    def settle(carry, _):
        """Settles one component: the next light one with help of the heavy one at hand, or that heavy one itself."""
        next_light, heavy, left = carry  # `left`: the mass that the heavy component still has
        at_hand = jnp.minimum(heavy, n - 1)
        is_light = ((left >= 1) | (heavy >= n - 1)) & (next_light < num_light)
        kept = jnp.where(is_light, masses[jnp.minimum(next_light, n - 1)], left)
        component = jnp.where(is_light, next_light, at_hand)
        helper = jnp.where(is_light, at_hand, jnp.minimum(heavy + 1, n - 1))
        # A heavy component that fell below 1 is itself topped up, by the next heavy one.
        given_by = jnp.where(is_light, left, masses[jnp.minimum(heavy + 1, n - 1)])
        left = given_by - (1 - kept)
        carry = (next_light + is_light, heavy + ~is_light, left)
        return carry, (component, jnp.clip(kept, 0, 1), helper)

    first = jnp.minimum(num_light, n - 1)
    start = (jnp.zeros_like(num_light), num_light, masses[first])
    _, (component, kept, helper) = jax.lax.scan(settle, start, length=n)
    place = order[component]
    return AliasTable(
        jnp.ones_like(law).at[place].set(kept), jnp.arange(n, dtype=jnp.int32).at[place].set(order[helper])
    )


def law_of(table: AliasTable) -> Float[Array, "n"]:
    """The law that a table draws from."""
    given = jnp.zeros_like(table.keep).at[table.alias].add(1 - table.keep)
    return (table.keep + given) / table.keep.shape[0]


def draw(table: AliasTable, key: Key, shape: tuple[int, ...]) -> Int[Array, "*shape"]:
    """Independent draws."""
    pick, coin = jax.random.split(key)
    index = uniform(pick, shape, table.keep.shape[0])
    kept = unit_interval(coin, shape, table.keep.dtype) < table.keep[index]
    return jnp.where(kept, index, table.alias[index])


def uniform(key: Key, shape: tuple[int, ...], n: int) -> Int[Array, "*shape"]:
    """Independent draws from 0, ..., n - 1 at one word each: the integer part of n times a number of 32 binary digits.

    A probability is 1/n within 2**-32, a part of n 2**-32 of itself; to halve it would cost a second word.
    """
    validate.in_range("n", n, 1, 2**31 - 1)
    bits = _threefry.bits(key, shape) if _unrolled(key) else jax.random.bits(key, shape, jnp.uint32)
    # The upper half of a product of 64 bits, in pieces of 16.
    (high, low), (n_high, n_low) = ((x >> 16, x & 0xFFFF) for x in (bits, jnp.uint32(n)))
    middle = high * n_low + (low * n_low >> 16)
    upper = high * n_high
    if n >= 1 << 16:
        other = low * n_high + (middle & 0xFFFF)
        upper = upper + (other >> 16)
    return (upper + (middle >> 16)).astype(jnp.int32)


def unit_interval(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[Array, "*shape"]:
    """Independent numbers in [0, 1): those of `jax.random.uniform`."""
    dtype = jnp.dtype(dtype)
    if not _unrolled(key) or dtype not in (jnp.float32, jnp.float64):
        return jax.random.uniform(key, shape, dtype)
    if dtype == jnp.float32:
        return _threefry.uniform(key, shape)
    words = jax.random.key_data(key)
    counter = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    high, low = _threefry.threefry_2x32((words[0], words[1]), (jnp.zeros_like(counter), counter))
    mantissa = (high.astype(jnp.uint64) << 20) | (low >> 12).astype(jnp.uint64)  # the upper 52 of 64 bits
    one = jax.lax.bitcast_convert_type(jnp.float64(1), jnp.uint64)
    return jax.lax.bitcast_convert_type(mantissa | one, jnp.float64) - 1


def bernoulli(key: Key, probability: Float[Array, ""] | float, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """Independent coins: those of `jax.random.bernoulli`."""
    probability = jnp.asarray(probability)
    return unit_interval(key, shape, probability.dtype) < probability


def _unrolled(key):
    """Whether the words come from our own Threefry, whose rounds are one loop over the words: equal bits.

    On a CPU `jax.random` keeps the rounds as a loop around loops, which takes 1.7 times as long to run and four times
    as long to compile.
    """
    return str(jax.random.key_impl(key)) == "threefry2x32"
