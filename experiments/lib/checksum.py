"""A checksum of arrays that does not depend on how they are split over devices and processes.

Every word of every array is multiplied by an odd number that its place decides, and all are summed modulo 2^32. Each
process sums what it holds, so no array is gathered; any one wrong word changes the sum, and so do words that change
places but for one case in 2^32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from experiments.lib import hosts

if TYPE_CHECKING:
    import jax

__all__ = ["of"]

_BLOCK = 1 << 15  # elements at a time: what is in the cache is summed several times faster


def of(arrays: Iterable[jax.Array]) -> int:
    """The checksum of arrays on any devices; all processes of the run must ask, and get the same number.

    Args:
      arrays: of numbers or bits, in an order that is part of what is summed.
    """
    total = 0
    for number, array in enumerate(arrays):
        for shard in array.addressable_shards:
            if shard.replica_id == 0 and shard.data.size:
                words, places = _words(np.asarray(shard.data)), _places(array.shape, shard.index, number)
                for block in (slice(start, start + _BLOCK) for start in range(0, len(words), _BLOCK)):
                    factors = _odd(places[block], words.shape[-1])
                    total += int(np.sum(words[block] * factors, dtype=np.uint32))
    low, high = total & 0xFFFF, (total >> 16) & 0xFFFF
    said = hosts.agree([low, high]).astype(np.int64).sum(0)
    return int((said[0] + (said[1] << 16)) & 0xFFFFFFFF)


def _words(array: np.ndarray) -> np.ndarray:
    """The bits of an array, uint32 `[size, words of an element]`."""
    content = np.ascontiguousarray(array).reshape(-1)
    if content.dtype.itemsize < 4:
        return content.view(f"u{content.dtype.itemsize}").astype(np.uint32)[:, None]
    return content.view(np.uint32).reshape(content.size, -1)


def _places(shape: tuple[int, ...], index: tuple[slice, ...], number: int) -> np.ndarray:
    """Where the elements of a shard are in the whole array, uint32 `[size]`; arrays begin at places of their own."""
    place, stride = np.full((1,) * len(shape), (number * 0x9E3779B9) & 0xFFFFFFFF, np.uint32), 1
    for axis in reversed(range(len(shape))):
        here = np.arange(*index[axis].indices(shape[axis]), dtype=np.uint32) * np.uint32(stride & 0xFFFFFFFF)
        place = place + here.reshape((-1,) + (1,) * (len(shape) - 1 - axis))
        stride *= shape[axis]
    return place.reshape(-1)


def _odd(places: np.ndarray, words: int) -> np.ndarray:
    """Odd multipliers, uint32 `[size, words]`: the finaliser of MurmurHash3 on the place of a word."""
    mixed = places[:, None] * np.uint32(words) + np.arange(words, dtype=np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return (mixed ^ (mixed >> np.uint32(16))) | np.uint32(1)
