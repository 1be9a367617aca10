"""How the rows of many trees are cut into steps of the grid, and the levels of a tree into passes.

Collections are padded to a power of two of elements and lie row after row. A step holds a chunk of rows and does the
first two levels of it in blocks of pairs; what is left of all chunks of some collections is kept on the chip, and the
step with the last chunk does all other levels of these collections at once.
"""

from typing import NamedTuple

import jax

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES

__all__ = ["Plan", "most_elements", "padded", "plan"]

_CHUNK = 2048  # rows of a step at most, of one register of channels
_KEPT = 4096  # rows kept on the chip after the first levels at most, likewise
_LEAST = 4 * SUBLANES  # rows of a chunk, so that pairs of its second level fill a register


class Plan(NamedTuple):
    """All numbers but `width`, `tiles`, `groups` and `steps` are powers of two."""

    size: int  # elements of a collection, absent ones of the padding included
    width: int  # channels as given
    tiles: int  # registers of 128 channels
    groups: int  # collections as given
    rows: int  # of a chunk
    levels: int  # done with each chunk
    block: int  # pairs at a time
    together: int  # collections whose last levels are done at once
    steps: int  # of the grid over collections

    @property
    def chunks(self) -> int:
        """Of the collections that are done together."""
        return self.together * self.size // self.rows

    @property
    def kept(self) -> int:
        """Rows that are left of a chunk."""
        return self.rows >> self.levels

    @property
    def tops(self) -> int:
        """Rows that are left of the collections that are done together."""
        return self.kept * self.chunks

    @property
    def depth(self) -> int:
        """Levels that are done with what is left of chunks."""
        return self.size.bit_length() - 1 - self.levels


def plan(groups: int, size: int, width: int, *, chunk: int = _CHUNK, kept: int = _KEPT, block: int = 512) -> Plan:
    """Cuts `groups` collections of `size` elements, a power of two, of `width` channels, at most two registers of them.

    Args:
      chunk, kept, block: rows of a chunk, rows kept and pairs of a block at most, of one register; powers of two.
    """
    tiles = -(-width // LANES)
    chunk, kept = (_power_below(rows // tiles) for rows in (chunk, kept))
    rows = max(_LEAST, min(chunk, _power_above(groups * size)))
    block = max(SUBLANES, min(block // tiles, rows // 4))
    levels = min(size.bit_length() - 1, 2)
    room = max(1, (kept << levels) // size)
    together = max(min(_power_above(groups), room), rows // size, 1)
    return Plan(size, width, tiles, groups, rows, levels, block, together, -(-groups // together))


def most_elements(width: int) -> int:
    """Of a collection, so that what is left of its chunks can be kept."""
    return 4 * _power_below(_KEPT // -(-width // LANES))


def _power_above(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _power_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def padded(x: jax.Array, mask: jax.Array):
    """Elements to a power of two, at least two."""
    size = max(2, _power_above(x.shape[1]))
    return _blocks.pad_axis(x, 1, size), _blocks.pad_axis(mask, 1, size, False)
