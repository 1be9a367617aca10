"""The gradient of window pooling on a TPU: statistics of windows again, pulled, and what each element is given of them.

Layout and limits as in `kernel_tpu.py`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.window_stats.statistics_tpu import MOST_WINDOWS, Counter, by_span, join_rows, of_rows, parameter
from pallas_kernels.window_stats.statistics_tpu import scratch as statistics_scratch
from pallas_kernels.window_stats.statistics_tpu import window as window_of
from pallas_kernels.window_stats.tiles_tpu import (
    LIMIT,
    MOST_AT_ONCE,
    Tile,
    back_margins,
    block,
    chunks,
    cost,
    direct,
    even,
    fitting,
    folds,
    inside,
    read,
    rows_held,
    shaper,
    theta_spec,
    widened,
    width,
    write,
)

__all__ = ["stream_backward"]


def stream_backward(
    theta, x, cotangent, *, law, learned, geometry, include_pad, rows=None, calm=False, interpret=False
):
    """The kernel itself: x `[H, W, B, C]`, cotangent `[H', W', B, C]`, to slopes as x and, if learned, `[C]` of theta.

    Only the shape of x counts for a law whose slopes do not depend on it.
    """
    rows_of, columns = geometry
    batch, channels = x.shape[2:]
    folded, lanes, wide = folds(batch, channels), min(channels, LANES), width(batch, channels)
    images = folded * SUBLANES
    most = rows or fitting(geometry, x.dtype.itemsize, folded)
    number = even(-(-rows_of.size // rows_of.stride), most // rows_of.stride)
    tall = number * rows_of.stride
    if inside(geometry):
        of_x, of_ct = Tile(tall, tall, 0, rows_of.size), Tile(number, number, 0, rows_of.out)
        specs = [block(tall, columns.size, images, lanes), block(number, columns.out, images, lanes)]
        scratch = []
    else:
        # Windows of the tile's rows, and the rows of these windows.
        held, windows = rows_held(geometry, number)
        of_ct = Tile(windows, number, rows_of.low // rows_of.stride - rows_of.reach + 1, rows_of.out)
        of_x = Tile(held, tall, rows_of.stride * of_ct.shift - rows_of.low, rows_of.size)
        specs = [of_x.spec(columns.size, images, lanes), of_ct.spec(columns.out, images, lanes)]
        scratch = statistics_scratch(law, of_x.count, columns, wide) if _again(law, geometry) else []
        scratch += _pulled_scratch(law, windows, columns, wide)
    shape = shaper(x)
    out_specs, out_shape = [block(tall, columns.size, images, lanes)], [shape(x.shape, x.dtype)]
    if learned:
        out_specs.append(pl.BlockSpec((SUBLANES, wide), lambda c, b, step: (0, c)))
        out_shape.append(shape((SUBLANES, folded * channels), jnp.float32))
    kernel = functools.partial(
        _inside_kernel if inside(geometry) else _backward_kernel, law=law, geometry=geometry, include_pad=include_pad,
        of_x=of_x, of_ct=of_ct, number=number, learned=learned, calm=calm,
    )  # fmt: skip
    found = pl.pallas_call(
        kernel if law.looks_back else functools.partial(_without_x, kernel),
        grid=(pl.cdiv(channels, lanes), pl.cdiv(batch, images), pl.cdiv(rows_of.size, tall)),
        in_specs=[theta_spec(wide), *specs[not law.looks_back :]],
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=scratch,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=LIMIT
        ),
        cost_estimate=cost(geometry, x, reads=int(law.looks_back), writes=1),
        interpret=interpret,
        name="window_stats_back",
    )(widened(theta, folded), *[x][: law.looks_back], cotangent)
    return found[0], jnp.sum(found[1].reshape(SUBLANES * folded, channels), axis=0) if learned else None


def _without_x(kernel, theta, *refs):
    kernel(theta, None, *refs)


def _again(law, geometry):
    """Whether statistics of rows are computed again; windows are joined from x at once, or need no statistics."""
    return law.looks_back and not direct(geometry)


def _pulled_scratch(law, windows, columns, lanes):
    """Pulled windows, `[rows of windows, margins and W']`; and one row of them joined over rows."""
    whole = back_margins(columns)[1]
    size = len(law.neutral_pulled)
    shapes = [(windows, whole, SUBLANES, lanes)] * size
    if law.joins_back:
        shapes += [(whole, SUBLANES, lanes)] * size
    return [pltpu.VMEM(shape, jnp.float32) for shape in shapes]


class _Theta:
    """Adds up the derivative in theta over images, columns and rows; without an output it does nothing."""

    def __init__(self, outs):
        self.out = outs[0] if outs else None
        if outs:
            start = (pl.program_id(1) == 0) & (pl.program_id(2) == 0)

            @pl.when(start)
            def _():
                self.out[...] = jnp.zeros_like(self.out)

    def add(self, value):
        """Of some columns."""
        self.out[...] += jnp.sum(value, axis=0)


def _inside_kernel(theta, x, cotangent, slopes, *outs, law, geometry, include_pad, of_x, of_ct, number, learned, calm):
    """Windows that lie side by side: a window's slopes from its own statistic, at once."""
    del include_pad, of_x, calm
    step = pl.program_id(2)
    theta = parameter(theta)
    rows, columns = geometry
    gradient = _Theta(outs)

    def row(o, _):
        exists = of_ct.exists(step, o)

        def chunk(start, size):
            statistic = None
            if law.looks_back:
                statistic = window_of(x, theta, law, geometry, lambda i: i, o, start, size)
            here = read(cotangent, (o,), start, size)
            pulled, of_theta = law.pulled(statistic, float(geometry.area), here, theta)
            for i, j in itertools.product(range(rows.stride), range(columns.stride)):
                row, at = (rows.stride * o + i,), columns.stride * start + j
                slope = jnp.zeros_like(here)
                if i < rows.window and j < columns.window:
                    value = read(x, row, at, size, columns.stride) if law.looks_back else None
                    if law.joins_back:
                        slope = law.slope(value, pulled, theta)
                    else:
                        slope = law.slope_in(value, pulled, i * columns.window + j)
                write(slopes, row, at, slope, columns.stride)
            if learned:
                gradient.add(of_theta)

        @pl.when(exists)
        def _():
            chunks(columns.out, chunk, MOST_WINDOWS)
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
    theta, x, cotangent, slopes, *refs, law, geometry, include_pad, of_x, of_ct, number, learned, calm
):
    """Statistics of all windows of the tile's elements again, pulled; then every element looks at its windows."""
    outs, scratch = (refs[:1], refs[1:]) if learned else ((), refs)
    sizes = [len(law.neutral)] * 2 if _again(law, geometry) else []
    sizes += [len(law.neutral_pulled)] * (1 + law.joins_back)
    ends = list(itertools.accumulate(sizes))
    scratch = [scratch[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    gradient = _Theta(outs)
    step, last = pl.program_id(2), pl.program_id(2) == pl.num_programs(2) - 1
    theta = parameter(theta)

    def all_rows(law, scratch):
        _pull(x, cotangent, theta, scratch, law, geometry, Counter(law, geometry, include_pad), of_x, of_ct, number,
              step, last, gradient)  # fmt: skip
        _push(x, slopes, theta, scratch, law, geometry, of_x, number, step)

    by_span(x, theta, law, scratch, all_rows, calm)


def _pull(x, cotangent, theta, scratch, law, geometry, count, of_x, of_ct, number, step, last, gradient):
    """Fills scratch with pulled windows between neutral margins."""
    rows, columns = geometry
    margin, whole = back_margins(columns)
    pulled = scratch[2 if _again(law, geometry) else 0]
    if _again(law, geometry):
        statistics = of_rows(x, theta, scratch, law, columns, of_x, step)

    def pull(w, _):
        exists = of_ct.exists(step, w)
        at = of_ct.row(step, w)

        def chunk(start, number_):
            statistic = None
            if _again(law, geometry):
                statistic = join_rows(statistics, law, geometry, w, start, number_)
            elif law.looks_back:
                statistic = window_of(x, theta, law, geometry, functools.partial(of_x.row, step), w, start, number_)
            here = read(cotangent, (at,), start, number_)
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
            chunks(columns.out, chunk, MOST_WINDOWS if direct(geometry) else MOST_AT_ONCE)
            for ref, neutral in zip(pulled, law.neutral_pulled, strict=True):
                for first, some in ((0, margin), (margin + columns.out, whole - margin - columns.out)):
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
    pulled, *joined = scratch[2 if _again(law, geometry) else 0 :]
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
    margin, whole = back_margins(columns)
    if law.joins_back and near:

        def join(start, size):
            parts = [tuple(ref[w, pl.ds(start, size)] for ref in pulled) for w, _ in near]
            for ref, value in zip(joined, law.join_pulled(parts, [place for _, place in near]), strict=True):
                ref[pl.ds(start, size)] = value

        if len(near) > 1:
            chunks(whole, join)

    for j in range(columns.stride):
        position, first = (j + columns.low) % columns.stride, (j + columns.low) // columns.stride
        along = [
            (margin + first - u, position + columns.stride * u)
            for u in range(columns.reach)
            if position + columns.stride * u < columns.window
        ]

        def chunk(start, size, j=j, along=along):
            out = columns.stride * start + j
            if not near or not along:
                empty = jnp.zeros((size, SUBLANES, theta.shape[-1]), jnp.float32)
                write(slopes, (here,), out, empty, columns.stride)
                return
            value = read(x, (at,), out, size, columns.stride) if law.looks_back else None
            if law.joins_back:
                if len(near) > 1:
                    parts = [tuple(ref[pl.ds(start + shift, size)] for ref in joined) for shift, _ in along]
                else:
                    parts = [tuple(ref[near[0][0], pl.ds(start + shift, size)] for ref in pulled) for shift, _ in along]
                joint = law.join_pulled(parts, [place for _, place in along])
                write(slopes, (here,), out, law.slope(value, joint, theta), columns.stride)
                return
            total = 0.0
            for (w, down), (shift, across) in itertools.product(near, along):
                window = tuple(ref[w, pl.ds(start + shift, size)] for ref in pulled)
                total += law.slope_in(value, window, down * columns.window + across)
            write(slopes, (here,), out, total, columns.stride)

        chunks(-(-(columns.size - j) // columns.stride), chunk)
