"""Nodes of trees in the chip's memory: rows of channels with their presence, levels one after the other.

The two nodes of a pair are neighbours, which two reads of every other row put side by side in registers. The levels of
a power of two of rows, one after the other, are an array of nearly twice as many: its rows 2 i and 2 i + 1 are joined
to its row `rows + i`, whatever their level is, so that one loop over whole blocks of pairs does all levels but the last
ones, which have fewer.

Presence is 1 or 0 in all lanes of a row: what is absent is chosen away by the vector unit, never multiplied away.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES
from pallas_kernels.monoid_tree import cell

__all__ = ["Nodes", "copy", "first", "join", "levels", "mark", "mark_levels", "pull", "put", "scratch", "two"]

#: Of marks that are turned at once: turning is slow, and several do not wait for each other.
_LINES = 8


class Nodes(NamedTuple):
    """References to rows of nodes."""

    values: tuple  # [rows, 128] for each register of channels
    there: object  # [rows, 128]


def scratch(rows: int, registers: int) -> list:
    return [pltpu.VMEM((rows, LANES), jnp.float32) for _ in range(registers)]


def two(refs) -> tuple[Nodes, Nodes]:
    """Of scratch for one after the other, values before presence."""
    half = len(refs) // 2
    return Nodes(refs[: half - 1], refs[half - 1]), Nodes(refs[half:-1], refs[-1])


def first(level: int, rows: int) -> int:
    """First row of a level, of which the one at the leaves has `rows`."""
    return 2 * rows - (2 * rows >> level)


def levels(rows: int, depth: int, block: int, body, *, down: bool = False) -> None:
    """`body(source, target, pairs)` for blocks of pairs in order of `depth` levels above `rows` rows, or backwards.

    `source` is the first row of the pairs, `target` that of their results.
    """
    whole = sum(rows >> level for level in range(1, depth + 1) if rows >> level >= block) // block
    rest = [level for level in range(depth) if rows >> level + 1 < block]

    def one(number, _):
        number = whole - 1 - number if down else number
        at = pl.multiple_of(number * block, block)
        body(2 * at, rows + at, block)
        return 0

    def many():
        if whole > 1:
            jax.lax.fori_loop(0, whole, one, 0)
        elif whole:
            body(0, rows, block)

    if not down:
        many()
    for level in reversed(rest) if down else rest:
        body(first(level, rows), first(level + 1, rows), rows >> level + 1)
    if down:
        many()


def _channels(number: int, width: int) -> slice:
    """Channels of a register."""
    return slice(number * LANES, min(width, (number + 1) * LANES))


def copy(source, target: tuple, there=None, at: int = 0) -> None:
    """Rows of channels to whole registers, from row `at` on; zeros beyond the last channel, and for what is absent."""
    rows, width = source.shape
    for number, value in enumerate(target):
        part = source[:, _channels(number, width)]
        channels = part.shape[1]
        if there is not None:
            part = jnp.where(there[pl.ds(at, rows), :channels] > 0, part, 0)
        if channels < LANES:
            part = jnp.concatenate([part, jnp.zeros((rows, LANES - channels), part.dtype)], axis=1)
        value[pl.ds(at, rows), :] = part


def put(target, source: tuple, at, there=None) -> None:
    """The other way: all rows of `target` from rows of whole registers from `at` on, zeros for what is absent."""
    rows, width = target.shape
    for number, value in enumerate(source):
        channels = _channels(number, width)
        part = value[pl.ds(at, rows), :]
        if there is not None:
            part = jnp.where(there[pl.ds(at, rows), :] > 0, part, 0)
        target[:, channels] = part[:, : channels.stop - channels.start]


def mark(mask, there, rows: int) -> None:
    """Presence of `rows` leaves, from `mask`, `[.., 128]` with 128 leaves in a row."""
    count, lines = min(rows, LANES), max(1, rows // LANES)
    together = min(lines, _LINES)

    def some(number, _):
        for each in range(together):
            at = number * together + each
            line = jnp.broadcast_to(mask[pl.ds(at, 1), :], (LANES, LANES))
            there[pl.ds(pl.multiple_of(at * count, count), count), :] = line.T[:count]
        return 0

    jax.lax.fori_loop(0, lines // together, some, 0)


def mark_levels(there, rows: int, depth: int, target, at) -> None:
    """Presence after `depth` levels, from that of `rows` leaves, which is overwritten."""
    for level in range(depth):
        count = rows >> level + 1
        left, right = (there[pl.ds(side, count, stride=2), :] for side in (0, 1))
        where, start = (target, at) if level == depth - 1 else (there, 0)
        where[pl.ds(start, count), :] = jnp.maximum(left, right)


def _wide(parts):
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def _registers(x):
    return [x[:, start : start + LANES] for start in range(0, x.shape[1], LANES)]


def _pairs(values: tuple, start, count):
    """Left and right ones of `count` pairs from row `start` on: a list of registers' arrays each."""
    return ([value[pl.ds(start + side, count, stride=2), :] for value in values] for side in (0, 1))


def _choices(nodes: Nodes, start, count):
    """Which pairs have both nodes, and the left one; and presence of what they are joined to."""
    left, right = (nodes.there[pl.ds(start + side, count, stride=2), :] for side in (0, 1))
    return jnp.minimum(left, right) > 0, left > 0, jnp.maximum(left, right)


def join(source: Nodes, start, target: Nodes, at, count: int, weights: cell.Weights) -> None:
    """`count` pairs from row `start` of the source on, to rows of the target from `at` on."""
    a, b = _pairs(source.values, start, count)
    joined = _registers(cell.combine(_wide(a), _wide(b), weights))
    both, has_left, there = _choices(source, start, count)
    for value, new, left, right in zip(target.values, joined, a, b, strict=True):
        value[pl.ds(at, count), :] = jnp.where(both, new, jnp.where(has_left, left, right))
    target.there[pl.ds(at, count), :] = there


def pull(up: Nodes, down: tuple, start, at, count: int, weights: cell.Weights, of_weights: cell.Weights) -> None:
    """Slopes of the `count` pairs from row `start` on, from those of their results from row `at` on.

    `up` are nodes, finite where absent, and `down` rows of their slopes. `of_weights`, references, are added to.
    """
    a, b = _pairs(up.values, start, count)
    both, has_left, there = _choices(up, start, count)
    given = [value[pl.ds(at, count), :] for value in down]
    through = _wide([jnp.where(both, part, 0) for part in given])
    da, db, found = cell.pull(_wide(a), _wide(b), through, weights)
    alone_left, alone_right = has_left & ~both, (there > 0) & ~has_left
    for side, (alone, slopes) in enumerate(((alone_left, da), (alone_right, db))):
        for value, slope, direct in zip(down, _registers(slopes), given, strict=True):
            value[pl.ds(start + side, count, stride=2), :] = jnp.where(both, slope, jnp.where(alone, direct, 0))
    for ref, part in zip(jax.tree.leaves(of_weights), jax.tree.leaves(found), strict=True):
        ref[pl.ds(0, part.shape[0]), :] += part
