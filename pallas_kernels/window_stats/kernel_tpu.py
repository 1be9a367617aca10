"""Window pooling on a TPU with the two spatial axes outermost: every element of a window is a whole register.

An array `[H, W, B, C]` has eight images by 128 channels in a register, so that strides and offsets of windows are
addresses, and nothing moves between the lanes or the rows of registers. The value reads x and writes y; the gradient
reads x and the cotangent and writes the slopes: it computes the statistics again, which costs less than reading them.

Windows side by side are joined from x at once, and their slopes follow in the same registers. Windows that overlap are
joined along rows first, one row of x at a time, then across rows; on the way back pulled windows are joined across rows
first. A step of the grid holds some rows; the block of x begins where it fits into the array, and a row that does not
exist is neutral. If all exponents of a step's block lie within `rules.SPAN` of each other, as they nearly always do,
they share one reference, and joining is addition; otherwise each part of a window has its own. Both ways are in the
kernel and each step takes one of them.

Limits: the memory's, for every kind: 8 bytes a float32 element for the value and 12 for the gradient of windows of
stride 1, 5 and 9 of 2x2 side by side, against one exponential and some ten to thirty vector operations an element. In
bfloat16 it is half of that, and the exponential kinds over windows that overlap are above it.

The compiler's estimate (libtpu 0.0.42.1; not a measurement), cycles per 1,024 elements, value and gradient of 2x2 side
by side. The kernel's reads and writes, 14 bytes an element, take HBM 26 cycles on a v5e and 15 on a v6e, if they share
its bandwidth, which the estimate does not let them: the memory is the wall. XLA's arrays stay on the chip at the size
that was simulated, 3 MB of x, where the kernel's do not; where they do not fit, on a v6e XLA's reads and writes alone
take 78 cycles.

                      v5e     v5p     v6e   tpu7x
    SoftPool         16.9     8.0    12.2    11.6
    XLA             119.3    13.9    18.8    13.5
    power mean       18.0     9.1    14.7     9.1
    XLA             123.9    14.6    22.2    16.5

Of the gradient of SoftPool over 3x3 by 2 in bfloat16, which HBM needs 8.4 and 4.9 cycles for:

                     14.0    14.2    12.8    17.0
    XLA              40.6    45.5    31.6    29.3

Other windows and kinds, by `shapes`, stand in the page of `research/pooling`. A reference for each part of a window
costs three times as much as one for all. `reduce_window` is not simulated.

Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.window_stats.kernel_tpu_back import stream_backward
from pallas_kernels.window_stats.rules import rule
from pallas_kernels.window_stats.statistics_tpu import MOST_WINDOWS, Counter, by_span, join_rows, of_rows, parameter
from pallas_kernels.window_stats.statistics_tpu import scratch as statistics_scratch
from pallas_kernels.window_stats.statistics_tpu import window as window_of
from pallas_kernels.window_stats.tiles_tpu import (
    LIMIT,
    MOST_AT_ONCE,
    Tile,
    block,
    chunks,
    cost,
    direct,
    even,
    fitting,
    folds,
    shaper,
    theta_spec,
    widened,
    width,
    write,
)

__all__ = ["backward", "forward", "stream_forward", "unsupported", "window_stats"]

_MOST_PLACES = 49  # of a window
_DTYPES = ("float32", "bfloat16")


def unsupported(x, theta, *, geometry, **options):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del theta, options
    if x.dtype not in _DTYPES:
        return f"x is {x.dtype}, of which a TPU has no numbers: float32 or bfloat16"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    if x.shape[0] < SUBLANES:
        return f"B={x.shape[0]} images do not fill the {SUBLANES} rows of a register"
    if geometry.area > _MOST_PLACES:
        return f"windows of {geometry.area} elements are more than {_MOST_PLACES}"
    if not fitting(geometry, x.dtype.itemsize, folds(x.shape[0], x.shape[3])):
        return f"a window's rows of {geometry.columns.size} columns do not fit the chip's memory"
    return None


def forward(x, theta, *, kind, ties, straight, geometry, include_pad, rows=None, interpret=False):
    """Same contract as `xla.forward`; float32 and bfloat16. `interpret` as in `pl.pallas_call`."""
    law = rule(kind, ties, straight)
    y = stream_forward(_filled(theta[None], ()), outermost(_filled(x)), law=law, geometry=geometry,
                       include_pad=include_pad, rows=rows, interpret=interpret)  # fmt: skip
    return innermost(y)[: x.shape[0], :, :, : x.shape[3]]


def backward(x, theta, cotangent, *, kind, ties, straight, geometry, include_pad, learned, rows=None, interpret=False):
    """Same contract as `xla.backward`."""
    law = rule(kind, ties, straight, learned)
    slopes, of_theta = stream_backward(
        _filled(theta[None], ()), outermost(_filled(x)), outermost(_filled(cotangent, value=0)), law=law,
        learned=learned, geometry=geometry, include_pad=include_pad, rows=rows, interpret=interpret,
    )  # fmt: skip
    slopes = innermost(slopes)[: x.shape[0], :, :, : x.shape[3]]
    return slopes, of_theta[: x.shape[3]] if learned else None


def _filled(x, axes=(0,), value=1):
    """Images to whole registers, and channels that take several: a block must end inside the array."""
    for axis in axes:
        x = _blocks.pad_axis(x, axis, _blocks.round_up(x.shape[axis], SUBLANES), value)
    channels = x.shape[-1]
    return _blocks.pad_axis(x, x.ndim - 1, channels if channels < LANES else _blocks.round_up(channels, LANES), value)


def window_stats(x, theta, *, interpret=False, **options):
    """The forward pass, under the operation's name."""
    return forward(x, theta, **options, interpret=interpret)


def outermost(x):
    """`[B, H, W, C]` to `[H, W, B, C]`: a choice of layout, which XLA makes where x is computed."""
    return jnp.transpose(x, (1, 2, 0, 3))


def innermost(x):
    return jnp.transpose(x, (2, 0, 1, 3))


def stream_forward(theta, x, *, law, geometry, include_pad, rows=None, calm=False, interpret=False):
    """The kernel itself: `theta [1, C]`, `x [H, W, B, C]` to `[H', W', B, C]`."""
    rows_of, columns = geometry
    batch, channels = x.shape[2:]
    folded, lanes, wide = folds(batch, channels), min(channels, LANES), width(batch, channels)
    images = folded * SUBLANES
    most = rows or fitting(geometry, x.dtype.itemsize, folded)
    number = even(rows_of.out, most // rows_of.stride)
    tile = Tile((number - 1) * rows_of.stride + rows_of.window, number * rows_of.stride, -rows_of.low, rows_of.size)
    return pl.pallas_call(
        functools.partial(
            _forward_kernel, law=law, geometry=geometry, include_pad=include_pad, tile=tile, number=number, calm=calm
        ),
        grid=(pl.cdiv(channels, lanes), pl.cdiv(batch, images), pl.cdiv(rows_of.out, number)),
        in_specs=[theta_spec(wide), tile.spec(columns.size, images, lanes)],
        out_specs=block(number, columns.out, images, lanes),
        out_shape=shaper(x)((*geometry.out, batch, channels), x.dtype),
        scratch_shapes=[] if direct(geometry) else statistics_scratch(law, tile.count, columns, wide),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=LIMIT
        ),
        cost_estimate=cost(geometry, x, reads=1, writes=0),
        interpret=interpret,
        name="window_stats",
    )(widened(theta, folded), x)


def _forward_kernel(theta, x, y, *scratch, law, geometry, include_pad, tile, number, calm):
    step = pl.program_id(2)
    theta = parameter(theta)
    columns = geometry.columns

    def all_rows(law, scratch):
        count = Counter(law, geometry, include_pad)
        if not direct(geometry):
            statistics = of_rows(x, theta, scratch, law, columns, tile, step)

        def row(o, _):
            def chunk(start, size):
                if direct(geometry):
                    statistic = window_of(x, theta, law, geometry, functools.partial(tile.row, step), o, start, size)
                else:
                    statistic = join_rows(statistics, law, geometry, o, start, size)
                held = count(step * number + o, start, size, theta.shape[-1])
                write(y, (o,), start, law.finish(statistic, held, theta))

            chunks(columns.out, chunk, MOST_WINDOWS if direct(geometry) else MOST_AT_ONCE)
            return 0

        jax.lax.fori_loop(0, number, row, 0)

    groups = [] if direct(geometry) else [scratch[: len(scratch) // 2], scratch[len(scratch) // 2 :]]
    by_span(x, theta, law, groups, all_rows, calm)
