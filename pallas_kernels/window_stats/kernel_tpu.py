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

Limits: the memory's, for every kind: 8 bytes an element for the value and 12 for the gradient of windows of stride 1,
5 and 9 of 2x2 side by side, against one exponential and some ten to thirty vector operations an element.

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

3x3 of stride 1 over the border, SoftPool, the value alone, one reference: 12.7 on a v5e; a reference for each part of a
window costs three times as much. `reduce_window` is not simulated.

Source: as `reference.py`.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.window_stats.geometry import Axis, Geometry
from pallas_kernels.window_stats.rules import SPAN, Calm, Exponential, rule, span

__all__ = ["backward", "cost", "forward", "stream_backward", "stream_forward", "unsupported", "window_stats"]

_VMEM = 40 << 20  # bytes of a grid step, of 64 MiB and more that every generation has
_LIMIT = 48 << 20  # what the compiler may use
_ROWS = 16  # of a grid step, of the larger of the two arrays
_MOST_AT_ONCE = 28  # columns of a row joined
_MOST_WINDOWS = 8  # joined from x itself: of each there are all elements at a time
_MOST_PLACES = 49  # of a window


def unsupported(x, theta, *, geometry, **options):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del theta, options
    if x.dtype != "float32":
        return f"x is {x.dtype}, the kernel computes in float32"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    if x.shape[0] < SUBLANES:
        return f"B={x.shape[0]} images do not fill the {SUBLANES} rows of a register"
    if geometry.area > _MOST_PLACES:
        return f"windows of {geometry.area} elements are more than {_MOST_PLACES}"
    if not _fitting(geometry):
        return f"a window's rows of {geometry.columns.size} columns do not fit the chip's memory"
    return None


def _rows_held(geometry, number):
    """Rows of x and of windows that a step of the gradient holds, for `number` periods of rows of x."""
    rows = geometry.rows
    if _inside(geometry):
        return number * rows.stride, number
    windows = (number * rows.stride - 1 + rows.low) // rows.stride - rows.low // rows.stride + rows.reach
    return rows.stride * (windows - 1) + rows.window, windows


def _fitting(geometry):
    """Rows of a step that fit the chip's memory, at most as many as are worth it; 0 if not even one period does."""
    rows, columns = geometry
    for number in range(max(1, _ROWS // rows.stride), 0, -1):
        of_x, windows = _rows_held(geometry, number)
        blocks = 2 * ((of_x + number * rows.stride) * columns.size + windows * columns.out)
        scratch = 0 if _inside(geometry) else 4 * of_x * columns.out + 3 * (windows + 3) * _back_margins(columns)[1]
        if 4 * SUBLANES * LANES * (blocks + scratch) <= _VMEM:
            return number * rows.stride
    return 0


def cost(geometry, batch, channels, passes):
    """Operations and bytes of one call, for the compiler's scheduler; `passes` over the larger array."""
    size = geometry.rows.size * geometry.columns.size * batch * channels
    out = geometry.rows.out * geometry.columns.out * batch * channels
    return pl.CostEstimate(
        flops=6 * out * geometry.area * passes,
        transcendentals=out * geometry.area * passes,
        bytes_accessed=4 * (size * passes + out),
    )


def forward(x, theta, *, kind, ties, straight, geometry, include_pad, rows=None, interpret=False):
    """Same contract as `xla.forward`; float32 only. `interpret` as in `pl.pallas_call`."""
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
    return slopes, jnp.sum(of_theta, axis=0)[: x.shape[3]] if learned else None


def _filled(x, axes=(0,), value=1):
    """Images and channels to whole registers: a block that begins at any row must end inside the array."""
    for axis in axes:
        x = _blocks.pad_axis(x, axis, _blocks.round_up(x.shape[axis], SUBLANES), value)
    return _blocks.pad_axis(x, x.ndim - 1, _blocks.round_up(x.shape[-1], LANES), value)


def window_stats(x, theta, *, interpret=False, **options):
    """The forward pass, under the operation's name."""
    return forward(x, theta, **options, interpret=interpret)


def outermost(x):
    """`[B, H, W, C]` to `[H, W, B, C]`: a choice of layout, which XLA makes where x is computed."""
    return jnp.transpose(x, (1, 2, 0, 3))


def innermost(x):
    return jnp.transpose(x, (2, 0, 1, 3))


class _Tile(NamedTuple):
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

    def spec(self, columns, lanes):
        return pl.BlockSpec(
            (pl.Element(self.held), pl.Element(columns), pl.Element(SUBLANES), pl.Element(lanes)),
            lambda c, b, step: (self.start(step), 0, b * SUBLANES, c * lanes),
        )


def _even(total, most):
    """At most so many of `total` in a step that all steps have about as many."""
    return -(-total // -(-total // max(1, min(total, most))))


def _forward_tiles(geometry, number):
    """Of x, for `number` rows of windows a step."""
    rows = geometry.rows
    return _Tile((number - 1) * rows.stride + rows.window, number * rows.stride, -rows.low, rows.size)


def stream_forward(theta, x, *, law, geometry, include_pad, rows=None, calm=False, interpret=False):
    """The kernel itself: `theta [1, C]`, `x [H, W, B, C]` to `[H', W', B, C]`."""
    number = _even(geometry.rows.out, (rows or _fitting(geometry)) // geometry.rows.stride)
    rows, columns = geometry
    batch, channels = x.shape[2:]
    tile = _forward_tiles(geometry, number)
    lanes = min(channels, LANES)
    scratch = [] if _direct(geometry) else _statistics(law, tile.count, columns, lanes, x.dtype)
    shape = _shaper(x)
    return pl.pallas_call(
        functools.partial(
            _forward_kernel, law=law, geometry=geometry, include_pad=include_pad, tile=tile, number=number, calm=calm
        ),
        grid=(pl.cdiv(channels, lanes), pl.cdiv(batch, SUBLANES), pl.cdiv(rows.out, number)),
        in_specs=[_theta_spec(lanes), tile.spec(columns.size, lanes)],
        out_specs=pl.BlockSpec((number, columns.out, SUBLANES, lanes), lambda c, b, step: (step, 0, b, c)),
        out_shape=shape((rows.out, columns.out, batch, channels), x.dtype),
        scratch_shapes=scratch,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=_LIMIT
        ),
        cost_estimate=cost(geometry, batch, channels, 1),
        interpret=interpret,
        name="window_stats",
    )(theta, x)


def _shaper(x):
    return functools.partial(jax.ShapeDtypeStruct, manual_axis_type=jax.typeof(x).manual_axis_type)


def _theta_spec(lanes):
    return pl.BlockSpec((1, lanes), lambda c, b, step: (0, c))


def _direct(geometry):
    """Whether a window is joined at once; otherwise along its rows first, which rows of windows share."""
    return not geometry.padded and not geometry.rows.overlaps


def _statistics(law, number, columns, lanes, dtype):
    """Scratch of the kernel: one lifted row between neutral margins, and statistics of rows of windows."""
    lifted = _margins(columns)[1]
    shapes = (lifted, SUBLANES, lanes), (number, columns.out, SUBLANES, lanes)
    return [pltpu.VMEM(shape, dtype) for shape in shapes for _ in law.neutral]


def _margins(columns):
    """Neutral columns before the row's own, and all columns that windows cover."""
    return columns.low, max(columns.low + columns.size, columns.stride * (columns.out - 1) + columns.window)


def _forward_kernel(theta, x, y, *scratch, law, geometry, include_pad, tile, number, calm):
    step = pl.program_id(2)
    theta = _parameter(theta)
    rows, columns = geometry

    def all_rows(law, scratch):
        count = _Counter(law, geometry, include_pad)
        if not _direct(geometry):
            statistics = _row_statistics(x, theta, scratch, law, columns, tile, step)

        def row(o, _):
            def chunk(start, size):
                if _direct(geometry):
                    statistic = _window(x, theta, law, geometry, functools.partial(tile.row, step), o, start, size)
                else:
                    statistic = _join_rows(statistics, law, geometry, o, start, size)
                held = count(step * number + o, start, size, y.shape[-1])
                y[o, pl.ds(start, size)] = law.finish(statistic, held, theta)

            _chunks(columns.out, chunk, _MOST_WINDOWS if _direct(geometry) else _MOST_AT_ONCE)
            return 0

        jax.lax.fori_loop(0, number, row, 0)

    _by_span(
        x,
        theta,
        law,
        [] if _direct(geometry) else [scratch[: len(scratch) // 2], scratch[len(scratch) // 2 :]],
        all_rows,
        calm,
    )


def _by_span(x, theta, law, scratch, body, calm):
    """`body(law, scratch)`, with one reference for all exponents of the block of x where they lie close together.

    `scratch` are groups of arrays, each of which has one less without a reference of its own.
    """
    if not scratch or not isinstance(law, Exponential):
        body(law, scratch)
        return

    def extremes(row, found):
        least, largest = found
        values = [x[row, pl.ds(start, 1)] for start in range(x.shape[1])]
        values = [jnp.abs(value) for value in values] if law.kind == "lp" else values
        return functools.reduce(jnp.minimum, values, least), functools.reduce(jnp.maximum, values, largest)

    first = x[0, pl.ds(0, 1)]
    first = jnp.abs(first) if law.kind == "lp" else first
    top, reach = span(law, *jax.lax.fori_loop(0, x.shape[0], extremes, (first, first)), theta)
    less = [group[1:] for group in scratch]
    if calm:
        body(Calm(law, top), less)
        return
    close = jnp.max(reach) < SPAN
    pl.when(close)(lambda: body(Calm(law, top), less))
    pl.when(jnp.logical_not(close))(lambda: body(law, scratch))


def _parameter(theta):
    return jnp.broadcast_to(theta[...], (SUBLANES, theta.shape[1]))[None]


def _chunks(total, body, most=_MOST_AT_ONCE):
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


def _strided(start, size, stride):
    return pl.ds(start, size) if stride == 1 else pl.ds(start, size, stride=stride)


def _window(x, theta, law, geometry, row, o, start, size):
    """Statistic of whole windows of row o, columns `start` to `start + size`, from x itself."""
    rows, columns = geometry
    parts, places = [], []
    for i, j in itertools.product(range(rows.window), range(columns.window)):
        at = _strided(columns.stride * start + j, size, columns.stride)
        parts.append(law.lift(x[row(rows.stride * o + i), at], theta))
        places.append(i * columns.window + j)
    return law.join(parts, places)


def _row_statistics(x, theta, scratch, law, columns, tile, step):
    """Fills scratch with statistics of one row of each window, `[rows of the tile, W']`, and returns it."""
    lifted, statistics = scratch[:2]
    low, width = _margins(columns)
    for ref, neutral in zip(lifted, law.neutral, strict=True):
        for first, number in ((0, low), (low + columns.size, width - low - columns.size)):
            if number > 0:
                ref[pl.ds(first, number)] = jnp.full((number, *ref.shape[1:]), neutral, ref.dtype)

    def row(j, _):
        @pl.when(tile.exists(step, j))
        def _():
            at = tile.row(step, j)

            def lift(start, number):
                values = law.lift(x[at, pl.ds(start, number)], theta)
                for ref, value in zip(lifted, values, strict=True):
                    if value is not None:
                        ref[pl.ds(low + start, number)] = value

            def join(start, number):
                parts = []
                for place in range(columns.window):
                    here = _strided(columns.stride * start + place, number, columns.stride)
                    parts.append(tuple(None if n == law.implicit else ref[here] for n, ref in enumerate(lifted)))
                for ref, value in zip(statistics, law.join(parts, range(columns.window)), strict=True):
                    ref[j, pl.ds(start, number)] = value

            _chunks(columns.size, lift)
            _chunks(columns.out, join)

        @pl.when(jnp.logical_not(tile.exists(step, j)))
        def _():
            def fill(start, number):
                for ref, neutral in zip(statistics, law.neutral, strict=True):
                    ref[j, pl.ds(start, number)] = jnp.full((number, *ref.shape[2:]), neutral, ref.dtype)

            _chunks(columns.out, fill)

        return 0

    jax.lax.fori_loop(0, tile.count, row, 0)
    return statistics


def _join_rows(statistics, law, geometry, o, start, size):
    rows, columns = geometry
    at = pl.ds(start, size)
    parts = [tuple(ref[rows.stride * o + i, at] for ref in statistics) for i in range(rows.window)]
    return law.join(parts, [i * columns.window for i in range(rows.window)])


class _Counter:
    """Elements of windows, for the rules that ask: a number, or an array where windows are cut by the border."""

    def __init__(self, law, geometry, include_pad):
        self.geometry = geometry
        self.same = include_pad or not geometry.padded or not law.counts

    def __call__(self, row, start, size, lanes):
        if self.same:
            return float(self.geometry.area)
        rows, columns = self.geometry
        down = _held(rows, row)
        column = start + jax.lax.broadcasted_iota(jnp.int32, (size, SUBLANES, lanes), 0)
        return (down * _held(columns, column)).astype(jnp.float32)


def _held(axis: Axis, o):
    first = axis.stride * o
    return jnp.maximum(
        1, jnp.minimum(first + axis.window, axis.low + axis.size) - jnp.maximum(first, axis.low)
    )  # a window beyond the last one, whose value is dropped, would have none


def _inside(geometry: Geometry):
    """Whether every window lies in its own rows and columns of x, so that nothing is to be joined on the way back."""
    return not geometry.padded and not geometry.rows.overlaps and not geometry.columns.overlaps


def stream_backward(
    theta, x, cotangent, *, law, learned, geometry, include_pad, rows=None, calm=False, interpret=False
):
    """The kernel itself: x `[H, W, B, C]`, cotangent `[H', W', B, C]`, to slopes as x and, if learned, `[8, C]`."""
    number = _even(-(-geometry.rows.size // geometry.rows.stride), (rows or _fitting(geometry)) // geometry.rows.stride)
    rows, columns = geometry
    batch, channels = x.shape[2:]
    lanes = min(channels, LANES)
    tall = number * rows.stride
    if _inside(geometry):
        of_x, of_ct = _Tile(tall, tall, 0, rows.size), _Tile(number, number, 0, rows.out)
        specs = [_block(tall, columns.size, lanes), _block(number, columns.out, lanes)]
        scratch = []
    else:
        # Windows of the tile's rows, and the rows of these windows.
        held, windows = _rows_held(geometry, number)
        of_ct = _Tile(windows, number, rows.low // rows.stride - rows.reach + 1, rows.out)
        of_x = _Tile(held, tall, rows.stride * of_ct.shift - rows.low, rows.size)
        specs = [of_x.spec(columns.size, lanes), of_ct.spec(columns.out, lanes)]
        scratch = [] if _direct(geometry) else _statistics(law, of_x.count, columns, lanes, x.dtype)
        scratch += _pulled_scratch(law, windows, columns, lanes, x.dtype)
    shape = _shaper(x)
    out_specs, out_shape = [_block(tall, columns.size, lanes)], [shape(x.shape, x.dtype)]
    if learned:
        out_specs.append(pl.BlockSpec((SUBLANES, lanes), lambda c, b, step: (0, c)))
        out_shape.append(shape((SUBLANES, channels), x.dtype))
    kernel = functools.partial(
        _inside_kernel if _inside(geometry) else _backward_kernel, law=law, geometry=geometry, include_pad=include_pad,
        of_x=of_x, of_ct=of_ct, number=number, batch=batch, learned=learned,
        calm=calm,
    )  # fmt: skip
    found = pl.pallas_call(
        kernel,
        grid=(pl.cdiv(channels, lanes), pl.cdiv(batch, SUBLANES), pl.cdiv(rows.size, tall)),
        in_specs=[_theta_spec(lanes), *specs],
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=scratch,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=_LIMIT
        ),
        cost_estimate=cost(geometry, batch, channels, 2),
        interpret=interpret,
        name="window_stats_back",
    )(theta, x, cotangent)
    return found[0], found[1] if learned else None


def _block(number, columns, lanes):
    return pl.BlockSpec((number, columns, SUBLANES, lanes), lambda c, b, step: (step, 0, b, c))


def _pulled_scratch(law, windows, columns, lanes, dtype):
    """Pulled windows, `[rows of windows, margins and W']`; and one row of them joined over rows."""
    width = _back_margins(columns)[1]
    size = len(law.neutral_pulled)
    shapes = [(windows, width, SUBLANES, lanes)] * size
    if law.joins_back:
        shapes += [(width, SUBLANES, lanes)] * size
    return [pltpu.VMEM(shape, dtype) for shape in shapes]


def _back_margins(columns):
    """Neutral windows before the first, and all that the columns of x may ask for."""
    low = columns.reach - 1
    return low, low + max(columns.out, (columns.size - 1 + columns.low) // columns.stride + 1)


class _Theta:
    """Adds up the derivative in theta over images, columns and rows; without an output it does nothing."""

    def __init__(self, outs, batch):
        self.out = outs[0] if outs else None
        if outs:
            self.first = pl.program_id(1) * SUBLANES
            self.batch = batch
            start = (pl.program_id(1) == 0) & (pl.program_id(2) == 0)

            @pl.when(start)
            def _():
                self.out[...] = jnp.zeros_like(self.out)

    def add(self, value):
        """Of some columns; rows of the register beyond the last image hold anything."""
        image = self.first + jax.lax.broadcasted_iota(jnp.int32, value.shape[1:], 0)
        self.out[...] += jnp.where(image < self.batch, jnp.sum(value, axis=0), 0.0)


def _inside_kernel(
    theta, x, cotangent, slopes, *outs, law, geometry, include_pad, of_x, of_ct, number, batch, learned, calm
):
    """Windows that lie side by side: a window's slopes from its own statistic, at once."""
    del include_pad, of_x, calm
    step = pl.program_id(2)
    theta = _parameter(theta)
    rows, columns = geometry
    gradient = _Theta(outs, batch)

    def row(o, _):
        exists = of_ct.exists(step, o)

        def chunk(start, size):
            def at(j):
                return _strided(columns.stride * start + j, size, columns.stride)

            statistic = _window(x, theta, law, geometry, lambda i: i, o, start, size)
            here = cotangent[o, pl.ds(start, size)]
            pulled, of_theta = law.pulled(statistic, float(geometry.area), here, theta)
            for i, j in itertools.product(range(rows.stride), range(columns.stride)):
                if i < rows.window and j < columns.window:
                    value = x[rows.stride * o + i, at(j)]
                    if law.joins_back:
                        slope = law.slope(value, pulled, theta)
                    else:
                        slope = law.slope_in(value, pulled, i * columns.window + j)
                    slopes[rows.stride * o + i, at(j)] = slope
                else:
                    slopes[rows.stride * o + i, at(j)] = jnp.zeros((size, *here.shape[1:]), here.dtype)
            if learned:
                gradient.add(of_theta)

        @pl.when(exists)
        def _():
            _chunks(columns.out, chunk, _MOST_WINDOWS)
            beyond = columns.size - columns.stride * columns.out
            if beyond > 0:
                for i in range(rows.stride):
                    slopes[rows.stride * o + i, pl.ds(columns.stride * columns.out, beyond)] = jnp.zeros(
                        (beyond, *slopes.shape[2:]), slopes.dtype
                    )

        @pl.when(jnp.logical_not(exists))
        def _():
            for i in range(rows.stride):
                slopes[rows.stride * o + i] = jnp.zeros(slopes.shape[1:], slopes.dtype)

        return 0

    jax.lax.fori_loop(0, number, row, 0)


def _backward_kernel(
    theta, x, cotangent, slopes, *refs, law, geometry, include_pad, of_x, of_ct, number, batch, learned, calm
):
    """Statistics of all windows of the tile's elements again, pulled; then every element looks at its windows."""
    outs, scratch = (refs[:1], refs[1:]) if learned else ((), refs)
    sizes = [] if _direct(geometry) else [len(law.neutral)] * 2
    sizes += [len(law.neutral_pulled)] * (1 + law.joins_back)
    ends = list(itertools.accumulate(sizes))
    scratch = [scratch[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    gradient = _Theta(outs, batch)
    step, last = pl.program_id(2), pl.program_id(2) == pl.num_programs(2) - 1
    theta = _parameter(theta)

    def all_rows(law, scratch):
        _pull(x, cotangent, theta, scratch, law, geometry, _Counter(law, geometry, include_pad), of_x, of_ct, number,
              step, last, gradient)  # fmt: skip
        _push(x, slopes, theta, scratch, law, geometry, of_x, number, step)

    _by_span(x, theta, law, scratch, all_rows, calm)


def _pull(x, cotangent, theta, scratch, law, geometry, count, of_x, of_ct, number, step, last, gradient):
    """Fills scratch with pulled windows between neutral margins."""
    rows, columns = geometry
    margin, width = _back_margins(columns)
    pulled = scratch[0 if _direct(geometry) else 2]
    if not _direct(geometry):
        statistics = _row_statistics(x, theta, scratch, law, columns, of_x, step)

    def pull(w, _):
        exists = of_ct.exists(step, w)
        at = of_ct.row(step, w)

        def chunk(start, number_):
            if _direct(geometry):
                statistic = _window(x, theta, law, geometry, functools.partial(of_x.row, step), w, start, number_)
            else:
                statistic = _join_rows(statistics, law, geometry, w, start, number_)
            here = cotangent[at, pl.ds(start, number_)]
            held = count(of_ct.first(step) + w, start, number_, here.shape[-1])
            values, of_theta = law.pulled(statistic, held, here, theta)
            for ref, value in zip(pulled, values, strict=True):
                ref[w, pl.ds(margin + start, number_)] = value
            if gradient.out is not None:
                # A window that several tiles hold counts in the first one's; the last tile has those that remain.
                @pl.when((w < number) | last)
                def _():
                    gradient.add(of_theta)

        @pl.when(exists)
        def _():
            _chunks(columns.out, chunk, _MOST_WINDOWS if _direct(geometry) else _MOST_AT_ONCE)
            for ref, neutral in zip(pulled, law.neutral_pulled, strict=True):
                for first, some in ((0, margin), (margin + columns.out, width - margin - columns.out)):
                    if some:
                        ref[w, pl.ds(first, some)] = jnp.full((some, *ref.shape[2:]), neutral, ref.dtype)

        @pl.when(jnp.logical_not(exists))
        def _():
            for ref, neutral in zip(pulled, law.neutral_pulled, strict=True):
                ref[w] = jnp.full(ref.shape[1:], neutral, ref.dtype)

        return 0

    jax.lax.fori_loop(0, of_ct.count, pull, 0)


def _push(x, slopes, theta, scratch, law, geometry, of_x, number, step):
    """Slopes of the tile's rows, out of pulled windows."""
    rows = geometry.rows
    pulled, *joined = scratch[0 if _direct(geometry) else 2 :]
    joined = joined[0] if joined else ()

    def push(a, _):
        for i in range(rows.stride):
            here = rows.stride * a + i
            position = (i + rows.low) % rows.stride
            # Windows of the row by their number in the tile, and the row's place in them.
            latest = a + (i + rows.low) // rows.stride - rows.low // rows.stride + rows.reach - 1
            near = [
                (latest - u, position + rows.stride * u)
                for u in range(rows.reach)
                if position + rows.stride * u < rows.window
            ]
            _push_row(x, slopes, pulled, joined, law, geometry, theta, here, of_x.row(step, here - of_x.shift), near)
        return 0

    jax.lax.fori_loop(0, number, push, 0)


def _push_row(x, slopes, pulled, joined, law, geometry, theta, here, at, near):
    """Slopes of one row of x; `near` are windows' rows and the row's places in them."""
    columns = geometry.columns
    margin, width = _back_margins(columns)
    if law.joins_back and near:

        def join(start, size):
            parts = [tuple(ref[w, pl.ds(start, size)] for ref in pulled) for w, _ in near]
            for ref, value in zip(joined, law.join_pulled(parts, [place for _, place in near]), strict=True):
                ref[pl.ds(start, size)] = value

        if len(near) > 1:
            _chunks(width, join)

    for j in range(columns.stride):
        position, first = (j + columns.low) % columns.stride, (j + columns.low) // columns.stride
        along = [
            (margin + first - u, position + columns.stride * u)
            for u in range(columns.reach)
            if position + columns.stride * u < columns.window
        ]

        def chunk(start, size, j=j, along=along):
            out = _strided(columns.stride * start + j, size, columns.stride)
            value = x[at, out]
            if not near or not along:
                slopes[here, out] = jnp.zeros_like(value)
                return
            if law.joins_back:
                if len(near) > 1:
                    parts = [tuple(ref[pl.ds(start + shift, size)] for ref in joined) for shift, _ in along]
                else:
                    parts = [tuple(ref[near[0][0], pl.ds(start + shift, size)] for ref in pulled) for shift, _ in along]
                slopes[here, out] = law.slope(value, law.join_pulled(parts, [place for _, place in along]), theta)
                return
            total = 0.0
            for (w, down), (shift, across) in itertools.product(near, along):
                window = tuple(ref[w, pl.ds(start + shift, size)] for ref in pulled)
                total += law.slope_in(value, window, down * columns.window + across)
            slopes[here, out] = total

        _chunks(-(-(columns.size - j) // columns.stride), chunk)
