"""One score for each element: weights as rows of lanes, one matrix product for a block of values.

An element's weight is the exponential of its score less the largest of its segment so far, found by comparing scores
with segments in registers. Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.segment_softmax_pool.selection import all_finite, beyond, columns, product, row
from pallas_kernels.segment_softmax_pool.xla import LOWEST

__all__ = ["backward", "forward"]

_TOP, _TOTAL = 0, 1  # rows of a tile's numbers
_LIFT = 1
#: Of what the matrix unit multiplies; a larger value counts as infinite.
_LARGEST = float(jnp.finfo(jnp.bfloat16).max)


def forward(block_of, code, scores, values, *, path, num_segments, calm=False, interpret=False):
    """The kernel itself.

    Args:
      block_of: `[steps]` int32.
      code: `[1, blocks * rows]` int32, twice the id, and one more for what takes part.
      scores: `[1, blocks * rows]`.
      values: `[M, D]`.
      calm: whether all numbers are promised to be finite, to cost the kernel.

    Returns:
      `[G, D]` pooled values, and `[tiles, 8, segments]`, of which row 0 is the largest score, 0 for none, and row 1 the
      sum of exponentials.
    """
    width = values.shape[1]
    shape = functools.partial(jax.ShapeDtypeStruct, manual_axis_type=jax.typeof(values).manual_axis_type)
    of_row, of_block, of_tile, of_numbers = _specs(path, width)
    return pl.pallas_call(
        functools.partial(_forward_kernel, path=path, calm=calm),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(path.steps,),
            in_specs=[of_row, of_row, of_block],
            out_specs=[of_tile, of_numbers],
            scratch_shapes=[
                pltpu.VMEM((path.segments, width), jnp.float32),
                pltpu.VMEM((path.segments, width), jnp.float32),
                pltpu.VMEM((path.segments, LANES), jnp.float32),
                pltpu.VMEM((path.segments, LANES), jnp.float32),
            ],
        ),
        out_shape=[
            shape((num_segments, width), jnp.float32),
            shape((path.tiles, SUBLANES, path.segments), jnp.float32),
        ],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
        cost_estimate=_cost(path, width, 1),
        interpret=interpret,
        name="segment_softmax_pool",
    )(block_of, code, scores, values)


def backward(block_of, code, scores, values, pull, numbers, *, path, interpret=False):
    """The kernel itself.

    Args:
      pull: `[G, D]`.
      numbers: `[tiles, 8, segments]`, row 0 the largest score, row 1 the lift of `xla.backward`.

    Returns:
      Slopes of scores, `[1, blocks * rows]`, and of values, `[M, D]`.
    """
    width = values.shape[1]
    shape = functools.partial(jax.ShapeDtypeStruct, manual_axis_type=jax.typeof(values).manual_axis_type)
    of_row, of_block, of_tile, of_numbers = _specs(path, width)
    return pl.pallas_call(
        functools.partial(_backward_kernel, path=path, num_segments=pull.shape[0]),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(path.steps,),
            in_specs=[of_row, of_row, of_block, of_tile, of_numbers],
            out_specs=[of_row, of_block],
        ),
        out_shape=[shape(scores.shape, jnp.float32), shape(values.shape, jnp.float32)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
        cost_estimate=_cost(path, width, 2),
        interpret=interpret,
        name="segment_softmax_pool_back",
    )(block_of, code, scores, values, pull, numbers)


def _specs(path, width):
    """Of a row of elements, their values, a tile of segments' values, and a tile's numbers."""
    return (
        pl.BlockSpec((1, path.rows), lambda k, block_of: (0, block_of[k])),
        pl.BlockSpec((path.rows, width), lambda k, block_of: (block_of[k], 0)),
        pl.BlockSpec((path.segments, width), lambda k, block_of: (k - block_of[k], 0)),
        pl.BlockSpec((None, SUBLANES, path.segments), lambda k, block_of: (k - block_of[k], 0, 0)),
    )


def _cost(path, width, passes):
    elements = path.blocks * path.rows
    pairs = path.steps * path.rows * path.segments
    return pl.CostEstimate(
        flops=pairs * (6 * width + 10),
        transcendentals=path.steps * path.rows * passes,
        bytes_accessed=4 * passes * (elements * (width + 2) + path.tiles * path.segments * width),
    )


def _diagonal(size):
    """Where a column's numbers go in a row, and the other way round."""
    down, along = (jax.lax.broadcasted_iota(jnp.int32, (size, size), axis) for axis in range(2))
    return down == along


def _forward_kernel(block_of, code, scores, values, pooled, numbers, sums, part, tops, totals, *, path, calm):
    k = pl.program_id(0)
    tile, begins, ends = path.tile(block_of, k)

    @pl.when(begins)
    def _():
        sums[...] = jnp.zeros_like(sums)
        tops[...] = jnp.full(tops.shape, LOWEST, jnp.float32)
        totals[...] = jnp.zeros_like(totals)

    # A running softmax: the largest score so far of every segment, and what has been added up on its scale.
    place, score = path.place(code[...], tile), scores[...]
    member = path.member(place)
    before = tops[:, :1]
    top = jnp.maximum(before, jnp.max(jnp.where(member, score, LOWEST), axis=1, keepdims=True))
    own = jnp.max(jnp.where(member, top, LOWEST), axis=0, keepdims=True)
    inside = (place >= 0) & (place < path.segments)
    weight = jnp.where(inside, jnp.exp(score - own), 0.0)
    weights = jnp.where(member, weight, 0.0)
    scale = jnp.exp(before - top)
    totals[:, :1] = totals[:, :1] * scale + jnp.sum(weights, axis=1, keepdims=True)
    tops[:, :1] = top
    part[...] = _dot(weights, values[...])

    def guarded():  # what is not finite has reached all segments, or does not count
        wide = columns(weight, values.shape[1])
        taken = columns(jnp.where(inside, 1.0, 0.0), values.shape[1]) > 0
        value = values[...]
        value = jnp.where(value > _LARGEST, jnp.inf, jnp.where(value < -_LARGEST, -jnp.inf, value))
        # The same products as above without them, so that not one bit of another segment changes.
        tame = jnp.where(taken & (jnp.abs(value) < jnp.inf), value, 0.0)
        rest = _dot(jnp.where(jnp.abs(weights) < jnp.inf, weights, 0.0), tame)
        part[...] = rest + beyond(jnp.where(member, 1.0, 0.0), jnp.where(taken, wide * value, 0.0))

    if not calm:
        pl.when(jnp.logical_not(all_finite(part[...])))(guarded)
    sums[...] = sums[...] * scale + part[...]

    @pl.when(ends)
    def _():
        total = totals[:, :1]
        none = total == 0
        pooled[...] = jnp.where(none, 0.0, sums[...] / jnp.where(none, 1.0, total))
        here = _diagonal(path.segments)
        top = jnp.where(none, 0.0, tops[:, :1])
        lines = [jnp.sum(jnp.where(here, column, 0.0), axis=0, keepdims=True) for column in (top, total)]
        rest = jnp.zeros((SUBLANES - 2, path.segments), jnp.float32)
        numbers[...] = jnp.concatenate([*lines, rest], axis=0)


def _backward_kernel(block_of, code, scores, values, pull, numbers, of_scores, of_values, *, path, num_segments):
    k = pl.program_id(0)
    tile = k - block_of[k]

    @pl.when(path.begins_block(block_of, k))
    def _():
        of_scores[...] = jnp.zeros_like(of_scores)
        of_values[...] = jnp.zeros_like(of_values)

    segment = jax.lax.broadcasted_iota(jnp.int32, pull.shape, 0) + tile * path.segments
    pulls = jnp.where(segment < num_segments, pull[...], 0.0)

    place, width = path.place(code[...], tile), values.shape[1]
    member = path.member(place)
    here = _diagonal(path.segments)
    upright = (jnp.sum(jnp.where(here, numbers[pl.ds(n, 1)], 0.0), axis=1, keepdims=True) for n in (_TOP, _LIFT))
    top, lift = (jnp.sum(jnp.where(member, column, 0.0), axis=0, keepdims=True) for column in upright)
    inside = (place >= 0) & (place < path.segments)
    weight = jnp.where(inside, jnp.exp(scores[...] - top), 0.0)

    def add(calm):
        chooser = jnp.where(member, 1.0, 0.0).T
        pulled = product(chooser, pulls, calm=calm)
        of_values[...] += columns(weight, width) * pulled  # 0 for the elements of another tile
        height = row(jnp.sum(pulled * values[...], axis=1, keepdims=True)) - lift
        of_scores[...] = jnp.where(inside, weight * height, of_scores[...])

    finite = all_finite(pulls)
    pl.when(finite)(lambda: add(True))
    pl.when(jnp.logical_not(finite))(lambda: add(False))


def _dot(a, b):
    """Matrix product to the last digits of float32."""
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
