"""Where the children of a tile of nodes lie: on one line, largest families first.

A family of 2**e children begins at a multiple of 2**e, since every family before it is at least as large. Hence an
aligned block of 2**s places belongs to one node wherever s <= e, whatever tiles the line is cut into, and sums over
aligned blocks are the same in each of them (`pyramid`).

A tile of C = 2**m places is laid out with its bits reversed: lane p holds place start + reverse(p). Two places that
differ in the lowest bit are then half a tile apart, and adding neighbours is adding two halves of an array.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Bool, Int

__all__ = ["MAX_EXPONENT", "Lanes", "Line", "lanes", "lay_out", "reversed_lanes", "take"]

#: Largest exponent of a family: places are counted in int32.
MAX_EXPONENT = 30
_CODES = MAX_EXPONENT + 1
_NONE = _CODES  # code of nodes without children, after all others


class Line(NamedTuple):
    """Families of N nodes, sorted; `code` is 30 - e."""

    order: Int[Array, " N"]  # which node is the i-th
    exponent: Int[Array, " N"]  # e; -1 without children
    begin: Int[Array, " N"]  # first place of the i-th family
    total: Int[Array, ""]  # places taken
    first: Int[Array, " 31"]  # number of families of smaller code
    place: Int[Array, " 31"]  # first place of the families of a code


class Lanes(NamedTuple):
    """One tile of the line; lanes from `total` on hold nothing of meaning."""

    node: Int[Array, " C"]  # in sorted order
    child: Int[Array, " C"]  # number among its siblings
    used: Bool[Array, " C"]


def take(tree, index: Int[Array, " M"]):
    """Rows of every leaf, `index` being in range."""
    return jax.tree.map(lambda leaf: leaf.at[index].get(mode="promise_in_bounds"), tree)


def reversed_lanes(size: int) -> np.ndarray:
    """0, ..., size - 1 with their bits reversed; size is a power of two."""
    index, out = np.arange(size), np.zeros(size, np.int32)
    for bit in range(size.bit_length() - 1):
        out |= ((index >> bit) & 1).astype(np.int32) << (size.bit_length() - 2 - bit)
    return out


def lay_out(exponent: Int[Array, " N"], has: Bool[Array, " N"]) -> Line:
    """The line of families of 2**exponent children, exponent in 0..30, of those nodes that have any.

    The places must number less than 2**31.
    """
    size = exponent.shape[0]
    shift = max(size - 1, 1).bit_length()
    code = jnp.where(has, MAX_EXPONENT - exponent, _NONE)
    # One unsigned number a node: sorting a single operand is several times faster than sorting pairs.
    packed = jnp.sort(code.astype(jnp.uint32) << shift | jnp.arange(size, dtype=jnp.uint32))
    first = jnp.searchsorted(packed, jnp.arange(_CODES + 1, dtype=jnp.uint32) << shift).astype(jnp.int32)
    places = (first[1:] - first[:-1]) << np.arange(MAX_EXPONENT, -1, -1, dtype=np.int32)
    end = jnp.cumsum(places)
    first, place = first[:-1], end - places
    code = (packed >> shift).astype(jnp.int32)
    known = jnp.minimum(code, _NONE - 1)
    begin = place[known] + ((jnp.arange(size, dtype=jnp.int32) - first[known]) << (MAX_EXPONENT - known))
    order = (packed & jnp.uint32((1 << shift) - 1)).astype(jnp.int32)
    return Line(order, MAX_EXPONENT - code, jnp.where(code == _NONE, end[-1], begin), end[-1], first, place)


def lanes(line: Line, start: Int[Array, ""], size: int) -> Lanes:
    """The places start, ..., start + size - 1, bits of the lane reversed; start is a multiple of size below total."""
    j = start + reversed_lanes(size)
    lowest = (line.place <= start).sum(dtype=jnp.int32) - 1
    highest = (line.place < start + size).sum(dtype=jnp.int32) - 1

    def beyond(carry):
        code, *held = carry
        code = code + 1
        here = j >= line.place[code]
        new = (MAX_EXPONENT - code, line.place[code], line.first[code])
        return code, *(jnp.where(here, value, old) for value, old in zip(new, held, strict=True))

    # Most tiles hold families of one size or two: the loop runs over the sizes that are there.
    whole = [jnp.broadcast_to(x, (size,)) for x in (MAX_EXPONENT - lowest, line.place[lowest], line.first[lowest])]
    _, exponent, place, first = jax.lax.while_loop(lambda carry: carry[0] < highest, beyond, (lowest, *whole))
    past = j - place
    node = jnp.minimum(first + (past >> exponent), line.order.shape[0] - 1)
    return Lanes(node, past & ((1 << exponent) - 1), j < line.total)
