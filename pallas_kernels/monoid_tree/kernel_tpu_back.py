"""The way back through balanced trees on a TPU: every level is computed again on the chip, none is read.

The forward pass keeps what is left of each chunk of leaves, a quarter of the elements. The first step of some
collections goes up from there to the roots and back down; then each chunk goes up from its leaves and down to their
slopes. Derivatives in the weights are sums over all pairs and stay on the chip over the whole grid.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES, pad_axis
from pallas_kernels.monoid_tree import cell, nodes, steps
from pallas_kernels.monoid_tree.plan import Plan, padded, plan

__all__ = ["backward"]

_BLOCK = 256  # pairs at a time; of twice as many the schedule gains nothing


def backward(x, mask, *rest, interpret=False, **sizes):
    """Derivatives in x and in the four weights; `rest` are the weights, what `forward` kept, and the cotangent."""
    *weights, left, cotangent = rest
    count = x.shape[1]
    x, mask = padded(x, mask)
    how = plan(*x.shape, **{"block": _BLOCK} | sizes)
    lines = steps.lines(mask, how)
    given, unpad = jax.vjp(lambda *some: cell.padded(*some, how.tiles * LANES), *weights)
    cotangent = pad_axis(cotangent, 0, how.steps * how.together).reshape(how.steps, how.together, how.width)
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=x.dtype, manual_axis_type=jax.typeof(x).manual_axis_type)
    sums = steps.weight_shapes(how)
    slopes, *of_weights = pl.pallas_call(
        functools.partial(_kernel, plan=how),
        grid=(how.steps, how.chunks),
        in_specs=[
            steps.chunk_spec(how),
            pl.BlockSpec((how.chunks, *lines.shape[1:]), lambda s, k: (s, 0, 0)),
            *steps.weight_specs(how),
            pl.BlockSpec((how.tops, how.width), lambda s, k: (s, 0)),
            pl.BlockSpec((1, how.together, how.width), lambda s, k: (s, 0, 0)),
        ],
        out_specs=[steps.chunk_spec(how)] + [pl.BlockSpec(size, lambda s, k: (0, 0)) for size in sums],
        out_shape=[shape((how.groups * how.size, how.width)), *map(shape, sums)],
        scratch_shapes=[
            *steps.weight_scratch(how),
            *nodes.scratch(2 * how.rows, how.tiles + 1),
            *nodes.scratch(2 * how.tops, how.tiles + 1),
            *nodes.scratch(2 * how.rows, how.tiles),
            *nodes.scratch(2 * how.tops, how.tiles),
        ],
        # Derivatives in the weights are added up over the grid.
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary", "arbitrary"), vmem_limit_bytes=steps.LIMIT
        ),
        cost_estimate=steps.cost(how, 28),
        interpret=interpret,
        name="monoid_tree_back",
    )(x.reshape(-1, how.width), lines, *given, left, cotangent)
    of_given = jax.linear_transpose(cell.pack, *given)(cell.Weights.of(of_weights))
    return slopes.reshape(how.groups, how.size, how.width)[:, :count], *unpad(of_given)


def _kernel(x, mask, *rest, plan: Plan):
    given, left, cotangent, slopes, rest = rest[:4], rest[4], rest[5], rest[6], rest[7:]
    sums, scratch = rest[: cell.LEAVES], rest[cell.LEAVES :]
    weights, scratch = steps.packed(given, scratch[: cell.LEAVES]), scratch[cell.LEAVES :]
    up, down = scratch[: 2 * (plan.tiles + 1)], scratch[2 * (plan.tiles + 1) :]
    (work, top), work_slopes, top_slopes = nodes.two(up), down[: plan.tiles], down[plan.tiles :]
    k = pl.program_id(1)
    at = pl.multiple_of(k * plan.kept, plan.kept)

    def pull(tree, slopes, rows, depth):
        """From slopes of the level `depth` above `rows` rows to those of these rows."""

        def block(source, target, pairs):
            nodes.pull(tree, slopes, source, target, pairs, weights, cell.Weights.of(sums))

        nodes.levels(rows, depth, plan.block, block, down=True)

    @pl.when((pl.program_id(0) == 0) & (k == 0))
    def _():
        for ref in sums:
            ref[...] = jnp.zeros_like(ref)

    @pl.when(k == 0)
    def _():
        def marked(chunk, _):
            nodes.mark(mask.at[chunk], work.there, plan.rows)
            start = pl.multiple_of(chunk * plan.kept, plan.kept)
            nodes.mark_levels(work.there, plan.rows, plan.levels, top.there, start)
            return 0

        jax.lax.fori_loop(0, plan.chunks, marked, 0)
        nodes.copy(left, top.values, top.there)
        steps.upper(top, plan, weights)
        nodes.copy(cotangent.at[0], top_slopes, at=nodes.first(plan.depth, plan.tops))
        pull(top, top_slopes, plan.tops, plan.depth)

    @pl.when(steps.exists(plan))
    def _():
        nodes.mark(mask.at[k], work.there, plan.rows)
        nodes.copy(x, work.values, work.there)

        def join(source, target, pairs):
            nodes.join(work, source, work, target, pairs, weights)

        # The last of the chunk's levels is known to the collections' first step.
        nodes.levels(plan.rows, plan.levels - 1, plan.block, join)
        start = nodes.first(plan.levels, plan.rows)
        for ref, above in zip(work_slopes, top_slopes, strict=True):
            ref[pl.ds(start, plan.kept), :] = above[pl.ds(at, plan.kept), :]
        pull(work, work_slopes, plan.rows, plan.levels)
        nodes.put(slopes, work_slopes, 0)
