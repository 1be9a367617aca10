"""Statistics of windows out of a block of x in a TPU's memory: what both directions of the kernel begin with."""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import SUBLANES
from pallas_kernels.window_stats.geometry import Axis
from pallas_kernels.window_stats.rules import SPAN, Calm, Exponential, Inverse, span
from pallas_kernels.window_stats.tiles_tpu import chunks, margins, read, write

__all__ = ["MOST_WINDOWS", "Counter", "by_span", "join_rows", "of_rows", "parameter", "scratch", "window"]

MOST_WINDOWS = 8  # joined from x itself: of each there are all elements at a time


def parameter(theta):
    return jnp.broadcast_to(theta[...], (SUBLANES, theta.shape[1]))[None]


def by_span(x, theta, law, scratch, body, calm):
    """`body(law, scratch)`, with one reference for all exponents of the block of x where they lie close together.

    `scratch` are groups of arrays, each of which has one less without a reference of its own.
    """
    if not scratch or not isinstance(law, Exponential):
        body(law, scratch)
        return

    def columns(row):
        values = [read(x, (row,), start, 1) for start in range(x.shape[1])]
        return [jnp.abs(value) for value in values] if law.kind == "lp" else values

    def extremes(row, found):
        least, largest = found
        values = columns(row)
        return functools.reduce(jnp.minimum, values, least), functools.reduce(jnp.maximum, values, largest)

    first = columns(0)[0]
    top, reach = span(law, *jax.lax.fori_loop(0, x.shape[0], extremes, (first, first)), theta)
    less = [group[1:] for group in scratch]
    if calm:
        body(Calm(law, top), less)
        return
    close = jnp.max(reach) < SPAN
    pl.when(close)(lambda: body(Calm(law, top), less))
    pl.when(jnp.logical_not(close))(lambda: body(law, scratch))


def window(x, theta, law, geometry, row, o, start, size):
    """Statistic of whole windows of row o, columns `start` to `start + size`, from x itself."""
    rows, columns = geometry
    parts, places = [], []
    for i, j in itertools.product(range(rows.window), range(columns.window)):
        at = (row(rows.stride * o + i),)
        parts.append(law.lift(read(x, at, columns.stride * start + j, size, columns.stride), theta))
        places.append(i * columns.window + j)
    return law.join(parts, places)


def scratch(law, number, columns, lanes):
    """One lifted row between neutral margins, and statistics of rows of windows."""
    lifted = margins(columns)[1]
    shapes = (lifted, SUBLANES, lanes), (number, columns.out, SUBLANES, lanes)
    return [pltpu.VMEM(shape, jnp.float32) for shape in shapes for _ in law.neutral]


def of_rows(x, theta, scratch, law, columns, tile, step):
    """Fills scratch with statistics of one row of each window, `[rows of the tile, W']`, and returns it."""
    lifted, statistics = scratch[:2]
    low, whole = margins(columns)
    for ref, neutral in zip(lifted, law.neutral, strict=True):
        for first, number in ((0, low), (low + columns.size, whole - low - columns.size)):
            if number > 0:
                ref[pl.ds(first, number)] = jnp.full((number, *ref.shape[1:]), neutral, ref.dtype)

    def row(j, _):
        @pl.when(tile.exists(step, j))
        def _():
            at = tile.row(step, j)

            def lift(start, number):
                values = law.lift(read(x, (at,), start, number), theta)
                for ref, value in zip(lifted, values, strict=True):
                    if value is not None:
                        write(ref, (), low + start, value)

            def join(start, number):
                parts = []
                for place in range(columns.window):
                    here = (), columns.stride * start + place, number, columns.stride
                    parts.append(tuple(None if n == law.implicit else read(ref, *here) for n, ref in enumerate(lifted)))
                for ref, value in zip(statistics, law.join(parts, range(columns.window)), strict=True):
                    write(ref, (j,), start, value)

            chunks(columns.size, lift)
            chunks(columns.out, join)

        @pl.when(jnp.logical_not(tile.exists(step, j)))
        def _():
            def fill(start, number):
                for ref, neutral in zip(statistics, law.neutral, strict=True):
                    ref[j, pl.ds(start, number)] = jnp.full((number, *ref.shape[2:]), neutral, ref.dtype)

            chunks(columns.out, fill)

        return 0

    jax.lax.fori_loop(0, tile.count, row, 0)
    return statistics


def join_rows(statistics, law, geometry, o, start, size):
    rows, columns = geometry
    at = pl.ds(start, size)
    parts = [tuple(ref[rows.stride * o + i, at] for ref in statistics) for i in range(rows.window)]
    return law.join(parts, [i * columns.window for i in range(rows.window)])


class Counter:
    """Elements of windows, for the rules that ask: a number, or one over it where windows are cut by the border.

    The inverse is a scalar for each row and each column, chosen among the few that there are, and no vector divides.
    """

    def __init__(self, law, geometry, include_pad):
        self.geometry = geometry
        self.same = include_pad or not geometry.padded or not law.counts

    def __call__(self, row, start, size, lanes):
        if self.same:
            return float(self.geometry.area)
        rows, columns = self.geometry
        down = _inverse(rows, row)
        each = [down * _inverse(columns, start + k) for k in range(size)]
        return Inverse(jnp.concatenate([jnp.full((1, SUBLANES, lanes), one) for one in each], axis=0))


def _inverse(axis: Axis, o):
    held = _held(axis, o)
    found = jnp.float32(1.0)
    for number in range(2, axis.window + 1):
        found = jnp.where(held == number, jnp.float32(1 / number), found)
    return found


def _held(axis: Axis, o):
    first = axis.stride * o
    return jnp.maximum(
        1, jnp.minimum(first + axis.window, axis.low + axis.size) - jnp.maximum(first, axis.low)
    )  # a window beyond the last one, whose value is dropped, would have none
