"""Where the children of a tile of nodes lie: on one line, largest families first.

A family of 2**e children begins at a multiple of 2**e, since every family before it is at least as large. Hence an
aligned block of 2**s places belongs to one node wherever s <= e, whatever tiles the line is cut into, and means over
aligned blocks are the same in each of them (`pyramid`). The order among families of one size means nothing, so that
every backend may sort as it does best.

A tile of C = 2**m places is laid out with its bits reversed: lane p holds place start + reverse(p). Two places that
differ in the lowest bit are then half a tile apart, and adding neighbours is adding two halves of an array.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Bool, Int

__all__ = [
    "BEYOND",
    "MAX_EXPONENT",
    "NONE",
    "Lanes",
    "Line",
    "codes",
    "lanes",
    "lay_out",
    "materialized",
    "place",
    "reversed_lanes",
    "take",
]

#: Largest exponent of a family: places are counted in int32.
MAX_EXPONENT = 30
#: Codes of nodes: 30 - e for a family of 2**e; then those without children, and those whose family is beyond us.
NONE, BEYOND = MAX_EXPONENT + 1, MAX_EXPONENT + 2
_CODES = BEYOND + 1
_EXPONENTS = np.arange(MAX_EXPONENT, -1, -1, dtype=np.int32)
# Counting sort: counters of four codes share a word of 32 bits, and none exceeds the number of rows.
_PER_WORD, _BITS, _ROWS, _COLUMNS = 4, 8, 128, 16
_WORDS = -(-_CODES // _PER_WORD)


class Line(NamedTuple):
    """Families of N nodes; arrays `[N]` but `slot` are in sorted order."""

    slot: Int[Array, " N"]  # where a node has gone
    exponent: Int[Array, " N"]  # e; -1 without children, -2 for a family beyond us
    begin: Int[Array, " N"]  # first place of the i-th family
    total: Int[Array, ""]  # places taken
    first: Int[Array, " 31"]  # number of families of smaller code
    start: Int[Array, " 31"]  # first place of the families of a code
    beyond: Bool[Array, ""]  # whether there is a family beyond us


class Lanes(NamedTuple):
    """One tile of the line; lanes from `total` on hold nothing of meaning."""

    node: Int[Array, " C"]  # in sorted order
    child: Int[Array, " C"]  # number among its siblings
    used: Bool[Array, " C"]


def take(tree, index: Int[Array, " M"]):
    """Rows of every leaf, `index` being in range."""
    return jax.tree.map(lambda leaf: leaf.at[index].get(mode="promise_in_bounds"), tree)


def place(tree, slot: Int[Array, " N"]):
    """The rows of every leaf at their slots, a permutation; undone by `take`."""
    return jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf).at[slot].set(leaf, unique_indices=True, mode="promise_in_bounds"), tree
    )


def materialized(number: Int[Array, ""], function):
    """`function()`, computed once: what is inside a branch cannot be computed again for every use of its result, as the
    compiler's fusions would. `number` is any integer that the compiler does not know: the branch asks whether the
    product of it and the next one is even.
    """
    shape = jax.eval_shape(function)
    even = (number * (number + 1)) & 1 == 0
    return jax.lax.cond(even, function, lambda: jnp.zeros(shape.shape, shape.dtype))


def reversed_lanes(size: int) -> np.ndarray:
    """0, ..., size - 1 with their bits reversed; size is a power of two."""
    index, out = np.arange(size), np.zeros(size, np.int32)
    for bit in range(size.bit_length() - 1):
        out |= ((index >> bit) & 1).astype(np.int32) << (size.bit_length() - 2 - bit)
    return out


def codes(exponent: Int[Array, " N"], valid: Bool[Array, " N"], beyond: Bool[Array, " N"]) -> Int[Array, " N"]:
    """Codes of nodes from the exponents of their families."""
    return jnp.where(valid, jnp.where(beyond | (exponent > MAX_EXPONENT), BEYOND, MAX_EXPONENT - exponent), NONE)


def _by_sorting(code):
    """Slots, and how many nodes have a smaller code, by one sort of a single operand."""
    size = code.shape[0]
    shift = max(size - 1, 1).bit_length()
    packed = jnp.sort(code.astype(jnp.uint32) << shift | jnp.arange(size, dtype=jnp.uint32))
    first = jnp.searchsorted(packed, jnp.arange(_CODES, dtype=jnp.uint32) << shift).astype(jnp.int32)
    order = (packed & jnp.uint32((1 << shift) - 1)).astype(jnp.int32)
    return place(jnp.arange(size, dtype=jnp.int32), order), first


def _before(x, axis):
    """Sums over all entries before each."""
    return jnp.cumsum(x, axis) - x


def _by_counting(code):
    """The same by counting, a row of nodes at a time: on a core, sorting takes several times as long."""
    size = code.shape[0]
    columns = min(max(_COLUMNS, size // _ROWS), size)
    rows = code.reshape(-1, columns)
    numbers = jnp.arange(_WORDS, dtype=jnp.int32)[:, None]

    def body(counters, row):
        mine, shift = (row // _PER_WORD)[None] == numbers, (_BITS * (row % _PER_WORD)).astype(jnp.uint32)
        counters = counters + jnp.where(mine, (jnp.uint32(1) << shift)[None], 0)
        upto = jnp.where(mine, counters, 0).sum(axis=0, dtype=jnp.uint32) >> shift
        return counters, (upto & jnp.uint32((1 << _BITS) - 1)) - 1

    counters, before = jax.lax.scan(body, jnp.zeros((_WORDS, columns), jnp.uint32), rows)
    shifts = _BITS * jnp.arange(_PER_WORD, dtype=jnp.uint32)[None, :, None]
    counts = (counters[:, None] >> shifts) & jnp.uint32((1 << _BITS) - 1)
    counts = counts.reshape(-1, columns)[:_CODES].astype(jnp.int32)
    first = _before(counts.sum(axis=1, dtype=jnp.int32), 0)
    offset = materialized(first[-1], lambda: (first[:, None] + _before(counts, 1)).reshape(-1))
    at = rows * columns + jnp.arange(columns, dtype=jnp.int32)[None]
    return (take(offset, at) + before.astype(jnp.int32)).reshape(-1), first


def lay_out(code: Int[Array, " N"]) -> Line:
    """The line of the families of nodes with these codes; N is a power of two.

    Where the line would have 2**31 places or more, families so large that N of them would not fit are left out, and
    count as beyond us.
    """
    size = code.shape[0]
    slot, first = jax.lax.platform_dependent(code, cpu=_by_counting, default=_by_sorting)
    number = first[1 : NONE + 1] - first[:NONE]
    crowded = (number.astype(jnp.float32) * np.exp2(_EXPONENTS).astype(np.float32)).sum() >= 2.0**31
    left_out = crowded & (size.bit_length() - MAX_EXPONENT - 1 + _EXPONENTS >= 0)
    places = jnp.where(left_out, 0, number << _EXPONENTS)
    end = jnp.cumsum(places)
    start = end - places
    code = place(code, slot)
    known = jnp.minimum(code, MAX_EXPONENT)
    out = (code == BEYOND) | ((code < NONE) & take(left_out, known))
    begin = take(start, known) + ((jnp.arange(size, dtype=jnp.int32) - take(first, known)) << (MAX_EXPONENT - known))
    exponent = jnp.where(out, -2, MAX_EXPONENT - code)
    beyond = (first[BEYOND] < size) | (left_out & (number > 0)).any()
    return Line(slot, exponent, jnp.where(exponent < 0, end[-1], begin), end[-1], first[:NONE], start, beyond)


def lanes(line: Line, start: Int[Array, ""], size: int) -> Lanes:
    """The places start, ..., start + size - 1, bits of the lane reversed; start is a multiple of size below total."""
    j = start + reversed_lanes(size)
    lowest = (line.start <= start).sum(dtype=jnp.int32) - 1
    highest = (line.start < start + size).sum(dtype=jnp.int32) - 1

    def next_size(carry):
        code, *held = carry
        code = code + 1
        here = j >= line.start[code]
        new = (MAX_EXPONENT - code, line.start[code], line.first[code])
        return code, *(jnp.where(here, value, old) for value, old in zip(new, held, strict=True))

    # Most tiles hold families of one size or two: the loop runs over the sizes that are there.
    whole = [jnp.broadcast_to(x, (size,)) for x in (MAX_EXPONENT - lowest, line.start[lowest], line.first[lowest])]
    _, exponent, begin, first = jax.lax.while_loop(lambda carry: carry[0] < highest, next_size, (lowest, *whole))
    past = j - begin
    node = jnp.minimum(first + (past >> exponent), line.slot.shape[0] - 1)
    return Lanes(node, past & ((1 << exponent) - 1), j < line.total)
