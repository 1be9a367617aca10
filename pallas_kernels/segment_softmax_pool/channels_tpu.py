"""One score for each element and channel: the largest score of every segment by a scan, then matrix products.

Segments are contiguous, so that the largest of an element's segment up to it is found in steps of 1, 2, 4, ... rows,
and the last row of a segment has that of all. It is handed to the segment's elements, and their weights and weighted
values are added up, by products with the matrix of who is in which segment. Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES
from pallas_kernels.segment_softmax_pool.selection import all_finite, columns, product
from pallas_kernels.segment_softmax_pool.xla import LOWEST

__all__ = ["backward", "forward"]

_STRIP = 32  # rows


def forward(block_of, code, scores, values, *, path, num_segments, interpret=False):
    """The kernel itself.

    Args:
      block_of: `[steps]` int32.
      code: `[1, blocks * rows]` int32, twice the id, and one more for what takes part.
      scores: `[M, D]`.
      values: `[M, D]` or None.

    Returns:
      Largest score, 0 for none, sum of exponentials, and pooled values, `[G, D]` each; without values two of them.
    """
    width = scores.shape[1]
    shape = functools.partial(jax.ShapeDtypeStruct, manual_axis_type=jax.typeof(scores).manual_axis_type)
    of_row, of_block, of_tile = _specs(path, width)
    weighs = values is not None
    return pl.pallas_call(
        functools.partial(_forward_kernel, path=path, weighs=weighs),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=_grid(path, width),
            in_specs=[of_row, of_block] + [of_block] * weighs,
            out_specs=[of_tile] * (2 + weighs),
            scratch_shapes=[pltpu.VMEM((path.segments, min(width, LANES)), jnp.float32)] * 3,
        ),
        out_shape=[shape((num_segments, width), jnp.float32)] * (2 + weighs),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=_cost(path, width, 2 + weighs),
        interpret=interpret,
        name="segment_softmax_pool",
    )(block_of, code, scores, *([values] * weighs))


def backward(block_of, code, scores, values, top, pull, lift, *, path, interpret=False):
    """The kernel itself; `top`, `pull` and `lift` as in `xla.backward`, `[G, D]`, values and pull None alike.

    Returns:
      Slopes of scores and of values, `[M, D]`; without values one of them.
    """
    width = scores.shape[1]
    shape = functools.partial(jax.ShapeDtypeStruct, manual_axis_type=jax.typeof(scores).manual_axis_type)
    of_row, of_block, of_tile = _specs(path, width)
    weighs = values is not None
    arrays = [scores, values, top, lift, pull] if weighs else [scores, top, lift]
    return pl.pallas_call(
        functools.partial(_backward_kernel, path=path, num_segments=top.shape[0], weighs=weighs),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=_grid(path, width),
            in_specs=[of_row] + [of_block] * (1 + weighs) + [of_tile] * (2 + weighs),
            out_specs=[of_block] * (1 + weighs),
        ),
        out_shape=[shape(scores.shape, jnp.float32)] * (1 + weighs),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=_cost(path, width, 2 * (1 + weighs)),
        interpret=interpret,
        name="segment_softmax_pool_back",
    )(block_of, code, *arrays)


def _grid(path, width):
    return pl.cdiv(width, min(width, LANES)), path.steps


def _specs(path, width):
    """Of a row of elements, their numbers by channel, and a tile of segments' numbers."""
    lanes = min(width, LANES)
    return (
        pl.BlockSpec((1, path.rows), lambda c, k, block_of: (0, block_of[k])),
        pl.BlockSpec((path.rows, lanes), lambda c, k, block_of: (block_of[k], c)),
        pl.BlockSpec((path.segments, lanes), lambda c, k, block_of: (k - block_of[k], c)),
    )


def _cost(path, width, arrays):
    elements = path.blocks * path.rows
    return pl.CostEstimate(
        flops=path.steps * path.rows * path.segments * 6 * width * arrays,
        transcendentals=path.steps * path.rows * width,
        bytes_accessed=4 * arrays * width * (elements + path.tiles * path.segments),
    )


def _chooser(place, path):
    """`[rows, segments]`, 1 where the element is in the segment."""
    spots = columns(place.astype(jnp.float32), path.segments)
    segments = jax.lax.broadcasted_iota(jnp.int32, spots.shape, 1).astype(jnp.float32)
    return jnp.where(spots == segments, 1.0, 0.0)


def _forward_kernel(block_of, code, scores, *refs, path, weighs):
    values, tops, totals, pooled, top_so_far, total, sums = refs if weighs else (None, *refs[:2], None, *refs[2:])
    k = pl.program_id(1)
    tile, begins, ends = path.tile(block_of, k)

    @pl.when(begins)
    def _():
        top_so_far[...] = jnp.full(top_so_far.shape, LOWEST, jnp.float32)
        total[...] = jnp.zeros_like(total)
        sums[...] = jnp.zeros_like(sums)

    width = scores.shape[1]
    number, place = code[...] >> 1, path.place(code[...], tile)
    spot = columns(place.astype(jnp.float32), width)
    inside = (spot >= 0) & (spot < path.segments)
    lane = jax.lax.broadcasted_iota(jnp.int32, number.shape, 1)
    closes = (number != pltpu.roll(number, path.rows - 1, 1)) | (lane == path.rows - 1)
    closing = path.member(number - tile * path.segments) & closes
    has = jnp.max(jnp.where(closing, 1.0, 0.0), axis=1, keepdims=True) > 0
    before = top_so_far[...]

    def add(calm):
        running = _running_top(jnp.where(inside, jnp.maximum(scores[...], LOWEST), LOWEST), columns(number, width))
        found = product(jnp.where(closing, 1.0, 0.0), running, calm=calm)
        top = jnp.maximum(before, jnp.where(has, found, LOWEST))
        weight = jnp.where(inside, jnp.exp(scores[...] - product(_chooser(place, path), top, calm=calm)), 0.0)
        scale = jnp.exp(before - top)
        member = jnp.where(path.member(place), 1.0, 0.0)
        top_so_far[...] = top
        total[...] = total[...] * scale + product(member, weight, calm=calm)
        if weighs:
            weighted = jnp.where(inside, weight * values[...], 0.0)
            sums[...] = sums[...] * scale + product(member, weighted, calm=calm)

    _guarded(add, [jnp.where(inside, each[...], 0.0) for each in (scores, values)[: 1 + weighs]] + [before])

    @pl.when(ends)
    def _():
        none = total[...] == 0
        tops[...] = jnp.where(none, 0.0, top_so_far[...])
        totals[...] = total[...]
        if weighs:
            pooled[...] = jnp.where(none, 0.0, sums[...] / jnp.where(none, 1.0, total[...]))


def _running_top(x, number):
    """Largest of a row's segment up to that row, or of later rows of that segment too, where a step goes round.

    Strips of rows that stay in registers, one after the other, each with the last row of the one before.
    """
    strips = []
    for start in range(0, x.shape[0], _STRIP):
        top, own = x[start : start + _STRIP], number[start : start + _STRIP]
        step = 1
        while step < _STRIP:
            same = pltpu.roll(own, step, 0) == own
            top = jnp.where(same, jnp.maximum(top, pltpu.roll(top, step, 0)), top)
            step *= 2
        if strips:
            top = jnp.where(own == number[start - 1 : start], jnp.maximum(top, strips[-1][-1:]), top)
        strips.append(top)
    return jnp.concatenate(strips, axis=0)


def _guarded(body, arrays):
    """`body(calm)`, after a look at whether all numbers are finite."""
    finite = all_finite(*arrays)
    pl.when(finite)(lambda: body(True))
    pl.when(jnp.logical_not(finite))(lambda: body(False))


def _backward_kernel(block_of, code, scores, *refs, path, num_segments, weighs):
    if weighs:
        values, top, lift, pull, of_scores, of_values = refs
    else:
        (top, lift, of_scores), values, pull, of_values = refs, None, None, None
    k = pl.program_id(1)
    tile = k - block_of[k]

    @pl.when(path.begins_block(block_of, k))
    def _():
        of_scores[...] = jnp.zeros_like(of_scores)
        if weighs:
            of_values[...] = jnp.zeros_like(of_values)

    place = path.place(code[...], tile)
    spot = columns(place.astype(jnp.float32), scores.shape[1])
    inside = (spot >= 0) & (spot < path.segments)
    segment = jax.lax.broadcasted_iota(jnp.int32, top.shape, 0) + tile * path.segments
    of_segments = [jnp.where(segment < num_segments, each[...], 0.0) for each in (top, lift, pull)[: 2 + weighs]]

    def add(calm):
        chooser = _chooser(place, path)
        own = [product(chooser, each, calm=calm) for each in of_segments]
        weight = jnp.exp(scores[...] - own[0])
        height = own[2] * values[...] - own[1] if weighs else -own[1]
        of_scores[...] = jnp.where(inside, weight * height, of_scores[...])
        if weighs:
            of_values[...] = jnp.where(inside, weight * own[2], of_values[...])

    _guarded(add, of_segments)
