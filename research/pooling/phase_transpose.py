"""The adjoint of an operator on strided windows, without scatter and without dilated arrays.

An entry `i = s a + r` of the padded input, with phase `r < s`, is covered by the windows `a - u` at the offset
`r + s u`, for `u = 0, ..., ceil(k / s) - 1` while `r + s u < k`. So a sum over the windows of an entry is a sum of
`ceil(k / s)` terms, each of them a shifted array of the windows, broadcast over the phases; of as many products where
there are several axes. The same form serves every operator whose derivative by an entry is a function of that entry
and of numbers of the window.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from research.pooling.geometry import Geometry

__all__ = ["phase_transpose"]


def phase_transpose(
    x: jnp.ndarray | None,
    outs: Sequence[tuple[jnp.ndarray, Any]],
    geometry: Geometry,
    local: Callable[..., jnp.ndarray],
) -> jnp.ndarray:
    """For every entry the sum over its windows of `local(entry, numbers of the window, offset)`.

    Args:
      x: `[B, *S, C]` entries, or None where `local` does not look at them.
      outs: pairs of an array over the windows `[B, *S', C]` (or with 1 in place of `B` or `C`) and the number that
        stands for a window that is not there; `local` must be 0 there.
      geometry: of the windows.
      local: called with the entries, split into blocks and phases, or None; a list of the windows' arrays; and the
        entry's place in the window, a NumPy array of row-major offsets. Must not mix entries.

    Returns:
      `[B, *S, C]`, in the dtype that `local` returns.
    """
    axes = range(len(geometry.sizes))
    reach = [-(-k // s) for k, s in zip(geometry.window, geometry.strides, strict=True)]
    lows = [low for low, _ in geometry.pads]
    blocks = [
        max(-(-(n + low) // s), out + u - 1)
        for n, low, s, out, u in zip(geometry.sizes, lows, geometry.strides, geometry.out, reach, strict=True)
    ]
    spans = [a * s for a, s in zip(blocks, geometry.strides, strict=True)]
    if x is not None:
        ends = [(low, span - low - n, 0) for low, span, n in zip(lows, spans, geometry.sizes, strict=True)]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
        split = [length for axis in axes for length in (blocks[axis], geometry.strides[axis])]
        x = x.reshape(x.shape[0], *split, x.shape[-1])
    padded = []
    for array, fill in outs:
        ends = [(reach[axis] - 1, blocks[axis] - geometry.out[axis], 0) for axis in axes]
        padded.append(lax.pad(array, jnp.asarray(fill, array.dtype), [(0, 0, 0), *ends, (0, 0, 0)]))
    total = None
    for shift in itertools.product(*(range(u) for u in reach)):
        windows = [_windows(array, shift, reach, blocks) for array in padded]
        offset, inside = _offsets(geometry, shift)
        term = local(x, windows, offset)
        if not inside.all():
            term = jnp.where(inside, term, jnp.zeros((), term.dtype))
        total = term if total is None else total + term
    full = [1 if x is None and size == 1 else size for size in total.shape]
    phases = [length for axis in axes for length in (blocks[axis], geometry.strides[axis])]
    total = jnp.broadcast_to(total, (full[0], *phases, full[-1]))
    total = total.reshape(total.shape[0], *spans, total.shape[-1])
    starts = [0, *lows, 0]
    ends = [total.shape[0], *(low + n for low, n in zip(lows, geometry.sizes, strict=True)), total.shape[-1]]
    return lax.slice(total, starts, ends)


def _windows(array, shift, reach, blocks):
    """The windows that many steps before each block, broadcastable over its phases."""
    starts = [u - 1 - back for u, back in zip(reach, shift, strict=True)]
    part = lax.slice(
        array,
        [0, *starts, 0],
        [array.shape[0], *(start + a for start, a in zip(starts, blocks, strict=True)), array.shape[-1]],
    )
    return part.reshape(part.shape[0], *(length for a in blocks for length in (a, 1)), part.shape[-1])


def _offsets(geometry, shift):
    """Row-major places of a block's entries in the windows that many steps before it, and whether they are in them."""
    place, inside = np.zeros((1,) * (2 * len(shift) + 2), np.int32), np.ones((), bool)
    for axis, (k, s, back) in enumerate(zip(geometry.window, geometry.strides, shift, strict=True)):
        shape = [1] * place.ndim
        shape[2 + 2 * axis] = s
        along = (np.arange(s) + s * back).reshape(shape)
        place, inside = place * k + along, inside & (along < k)
    return place.astype(np.int32), inside
