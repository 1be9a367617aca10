"""What a step of the grid holds on a TPU, and how its rows are read and written.

A register has eight images by 128 channels of float32. Arrays of 64 channels, whose registers would be half empty, are
taken sixteen images at a time, the last eight in the upper half of the lanes: the two are put together as they are
read and parted as they are written. 16-bit arrays are widened as they are read and rounded as they are written;
whatever a step keeps in between is float32.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.window_stats.geometry import Geometry

__all__ = [
    "LIMIT",
    "MOST_AT_ONCE",
    "Tile",
    "back_margins",
    "block",
    "chunks",
    "cost",
    "direct",
    "even",
    "fitting",
    "folds",
    "inside",
    "margins",
    "read",
    "rows_held",
    "shaper",
    "theta_spec",
    "widened",
    "width",
    "write",
]

LIMIT = 48 << 20  # bytes that the compiler may use, of 64 MiB and more that every generation has
_VMEM = 40 << 20  # of a grid step
_ROWS = 16  # of a grid step, of the larger of the two arrays
MOST_AT_ONCE = 28  # columns of a row joined


class Tile(NamedTuple):
    """What one grid step holds of the rows: `count` from `first(step)` on, of which those in [0, size) exist.

    The block in memory begins where it fits into the array, so that nothing outside is ever fetched.
    """

    count: int
    step: int
    shift: int
    size: int

    @property
    def held(self):
        return min(self.count, self.size)

    def first(self, step):
        return step * self.step + self.shift

    def start(self, step):
        return jnp.clip(self.first(step), 0, self.size - self.held)

    def row(self, step, number):
        """Where the tile's row is in the block; anywhere if it does not exist."""
        return jnp.clip(self.first(step) + number - self.start(step), 0, self.held - 1)

    def exists(self, step, number):
        at = self.first(step) + number
        return (at >= 0) & (at < self.size)

    def spec(self, columns, images, channels):
        return pl.BlockSpec(
            (pl.Element(self.held), pl.Element(columns), pl.Element(images), pl.Element(channels)),
            lambda c, b, step: (self.start(step), 0, b * images, 0 if channels % LANES else c * channels),
        )


def block(number, columns, images, channels):
    return pl.BlockSpec((number, columns, images, channels), lambda c, b, step: (step, 0, b, c))


def folds(batch, channels):
    """Groups of eight images side by side in the lanes of one register."""
    return 2 if 2 * channels == LANES and batch % (2 * SUBLANES) == 0 else 1


def width(batch, channels):
    """Lanes that a register has of an array's channels."""
    return folds(batch, channels) * min(channels, LANES)


def theta_spec(wide):
    return pl.BlockSpec((1, wide), lambda c, b, step: (0, c))


def widened(theta, folded):
    """`[1, C]` in float32, for the images side by side."""
    theta = theta.astype(jnp.float32)
    return theta if folded == 1 else jnp.concatenate([theta] * folded, axis=1)


def shaper(x):
    return functools.partial(jax.ShapeDtypeStruct, manual_axis_type=jax.typeof(x).manual_axis_type)


def cost(geometry, x, *, reads, writes):
    """Operations and bytes of one call, for the compiler's scheduler; reads and writes of arrays as large as x."""
    rows, columns = geometry
    out = rows.out * columns.out * x.shape[2] * x.shape[3]
    passes = reads + writes
    return pl.CostEstimate(
        flops=6 * out * geometry.area * passes,
        transcendentals=out * geometry.area * passes,
        bytes_accessed=x.dtype.itemsize * (x.size * passes + out),
    )


def read(ref, at, start, size, stride=1):
    """Columns `start`, `start + stride`, .. at some row, in float32: `[size, 8, width]`.

    Each is a register with an address of its own; Mosaic's strided reads are of float32 in 128 lanes alone.
    """
    if stride == 1:
        value = ref[(*at, pl.ds(start, size))]
    else:
        columns = [ref[(*at, pl.ds(start + stride * k, 1))] for k in range(size)]
        value = jnp.concatenate(columns, axis=0)
    value = value.astype(jnp.float32)
    if value.shape[1] == SUBLANES:
        return value
    return jnp.concatenate([value[:, :SUBLANES], value[:, SUBLANES:]], axis=2)


def write(ref, at, start, value, stride=1):
    """The reverse of `read`, in the array's dtype."""
    if ref.shape[-2] != SUBLANES:
        channels = ref.shape[-1]
        value = jnp.concatenate([value[..., :channels], value[..., channels:]], axis=1)
    value = value.astype(ref.dtype)
    if stride == 1:
        ref[(*at, pl.ds(start, value.shape[0]))] = value
        return
    for k in range(value.shape[0]):
        ref[(*at, pl.ds(start + stride * k, 1))] = value[k : k + 1]


def chunks(total, body, most=MOST_AT_ONCE):
    """`body(start, size)` over `total` columns, a few at a time: as many as divide them, if there are such.

    Columns are chains of operations that wait for each other, and for nothing else.
    """
    size = max((n for n in range(1, most + 1) if total % n == 0), default=1)
    size = size if 2 * size > most else min(most // 2, total)

    def one(number, _):
        body(number * size, size)
        return 0

    if total // size > 1:
        jax.lax.fori_loop(0, total // size, one, 0)
    else:
        body(0, size)
    if total % size:
        body(total // size * size, total % size)


def rows_held(geometry, number):
    """Rows of x and of windows that a step of the gradient holds, for `number` periods of rows of x."""
    rows = geometry.rows
    if inside(geometry):
        return number * rows.stride, number
    windows = (number * rows.stride - 1 + rows.low) // rows.stride - rows.low // rows.stride + rows.reach
    return rows.stride * (windows - 1) + rows.window, windows


def fitting(geometry, itemsize=4, folded=1):
    """Rows of a step that fit the chip's memory, at most as many as are worth it; 0 if not even one period does."""
    rows, columns = geometry
    for number in range(max(1, _ROWS // rows.stride), 0, -1):
        of_x, windows = rows_held(geometry, number)
        blocks = 2 * ((of_x + number * rows.stride) * columns.size + windows * columns.out)
        scratch = 0 if inside(geometry) else 4 * of_x * columns.out + 3 * (windows + 3) * back_margins(columns)[1]
        if SUBLANES * LANES * (itemsize * folded * blocks + 4 * scratch) <= _VMEM:
            return number * rows.stride
    return 0


def even(total, most):
    """At most so many of `total` in a step that all steps have about as many."""
    return -(-total // -(-total // max(1, min(total, most))))


def direct(geometry: Geometry):
    """Whether a window is joined at once; otherwise along its rows first, which rows of windows share."""
    return not geometry.padded and not geometry.rows.overlaps


def inside(geometry: Geometry):
    """Whether every window lies in its own rows and columns of x, so that nothing is to be joined on the way back."""
    return not geometry.padded and not geometry.rows.overlaps and not geometry.columns.overlaps


def margins(columns):
    """Neutral columns before the row's own, and all columns that windows cover."""
    return columns.low, max(columns.low + columns.size, columns.stride * (columns.out - 1) + columns.window)


def back_margins(columns):
    """Neutral windows before the first, and all that the columns of x may ask for."""
    low = columns.reach - 1
    return low, low + max(columns.out, (columns.size - 1 + columns.low) // columns.stride + 1)
