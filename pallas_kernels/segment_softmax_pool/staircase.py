"""How blocks of elements meet tiles of segments: the path of a grid over both.

Ids do not decrease, so that the pairs of a block and a tile with something in common lie on a staircase. The grid walks
it: a block's steps go from the tile of its first element to that of the next block's first. Whatever the sizes of the
segments these are `blocks + tiles - 1` steps, every tile is visited, the steps of a tile follow each other, and so do
those of a block; at step k the tile's number is k less the block's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES

__all__ = ["Staircase", "plan"]

_MOST_NUMBERS = 1 << 18  # of a block of elements: a MiB
_CROWDED, _LONELY = 1 / 4, 1 / 64  # segments for each element


class Staircase(NamedTuple):
    """Sizes of blocks and tiles, and how many there are of each."""

    rows: int
    segments: int
    blocks: int
    tiles: int

    @property
    def steps(self) -> int:
        return self.blocks + self.tiles - 1

    def block_of(self, ids: jax.Array) -> jax.Array:
        """`[steps]` int32, the block of every step; `ids` `[M]`, in order, in [0, G)."""
        tile_of_first = ids[self.rows :: self.rows] // self.segments
        begins = tile_of_first + jnp.arange(1, self.blocks, dtype=jnp.int32)
        step = jnp.arange(self.steps, dtype=jnp.int32)
        return jnp.sum(begins[None] <= step[:, None], axis=1, dtype=jnp.int32)

    # In a kernel: `block_of` in scalar memory, k the step.

    def tile(self, block_of, k):
        """The step's tile, and whether the step is the first and the last of it."""
        number, after = k - block_of[k], jnp.minimum(k + 1, self.steps - 1)
        begins = (k == 0) | (k - 1 - block_of[jnp.maximum(k - 1, 0)] != number)
        ends = (k == self.steps - 1) | (after - block_of[after] != number)
        return number, begins, ends

    def begins_block(self, block_of, k):
        """Whether the step is the first of its block."""
        return (k == 0) | (block_of[jnp.maximum(k - 1, 0)] != block_of[k])

    def place(self, code, tile):
        """Number of each element's segment in the tile, `[1, rows]`; outside [0, segments) for what is not in it."""
        return jnp.where(code & 1 == 1, (code >> 1) - tile * self.segments, -1)

    def member(self, place):
        """`[segments, rows]`, whether the element is in the segment."""
        return jax.lax.broadcasted_iota(jnp.int32, (self.segments, self.rows), 0) == place


def plan(elements: int, num_segments: int, width: int, *, spreads: bool) -> Staircase:
    """Sizes for elements of `width` numbers: few steps, and little work on pairs that have nothing in common.

    A step compares each of its elements with each of its segments: all steps together make `elements * segments +
    num_segments * rows` comparisons. Where there are few elements to a segment small blocks save comparisons; elsewhere
    large ones save steps. A kernel that `spreads` hands segments' numbers to their elements by products over segments,
    to which 128 segments cost as much as fewer.
    """
    crowd = num_segments / elements
    if crowd > _CROWDED:
        rows, segments = 256, 256
    elif spreads:
        rows, segments = 1024, 128
    else:
        rows, segments = 2048 if crowd <= _LONELY else 1024, 64
    while rows > LANES and rows * _blocks.round_up(width, LANES) > _MOST_NUMBERS:
        rows //= 2
    rows = min(rows, _blocks.round_up(elements, LANES))
    segments = min(segments, _blocks.round_up(num_segments, SUBLANES))
    return Staircase(rows, segments, -(-elements // rows), -(-num_segments // segments))
