"""What the steps of the grid share in both directions: blocks of the arguments, packed weights, the upper levels."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES, pad_axis
from pallas_kernels.monoid_tree import cell, nodes
from pallas_kernels.monoid_tree.plan import Plan

__all__ = [
    "LIMIT", "chunk_spec", "cost", "exists", "lines", "packed", "upper", "weight_scratch", "weight_shapes",
    "weight_specs",
]  # fmt: skip

LIMIT = 48 << 20  # bytes that the compiler may use, of 64 MiB and more that every generation has


def chunk_spec(plan: Plan) -> pl.BlockSpec:
    """Rows of the step's chunk, or of the last one: collections that fill up the last step's do not exist."""
    last = -(-plan.groups * plan.size // plan.rows) - 1
    return pl.BlockSpec((plan.rows, plan.width), lambda s, k: (jnp.minimum(s * plan.chunks + k, last), 0))


def exists(plan: Plan):
    """Whether the step's chunk has a row that exists."""
    chunk = pl.program_id(0) * plan.chunks + pl.program_id(1)
    return chunk * plan.rows < plan.groups * plan.size


def lines(mask: jax.Array, plan: Plan) -> jax.Array:
    """Presence of the leaves of each step's chunk, `[chunks, .., 128]`: 1 or 0, 128 leaves in a row."""
    flat = pad_axis(mask.reshape(-1).astype(jnp.float32), 0, plan.steps * plan.chunks * plan.rows)
    apart = pad_axis(flat.reshape(-1, min(plan.rows, LANES)), 1, LANES)
    return apart.reshape(plan.steps * plan.chunks, -1, LANES)


def weight_specs(plan: Plan) -> list:
    """Of `cell.padded` weights."""
    width = plan.tiles * LANES
    shapes = [(width, 3 * width)] * 2 + [(1, 3 * width)] * 2
    return [pl.BlockSpec(shape, lambda s, k: (0, 0)) for shape in shapes]


def weight_shapes(plan: Plan) -> list:
    """Of `cell.Weights`, leaf by leaf."""
    width = plan.tiles * LANES
    return [(width, 2 * width)] * 3 + [(cell.ROWS, 2 * width)] * 2


def weight_scratch(plan: Plan) -> list:
    return [pltpu.VMEM(shape, jnp.float32) for shape in weight_shapes(plan)]


def packed(given, scratch) -> cell.Weights:
    """References to packed weights, which the first step of some collections makes out of those given."""
    weights = cell.Weights.of(scratch)

    @pl.when(pl.program_id(1) == 0)
    def _():
        for ref, value in zip(scratch, jax.tree.leaves(cell.pack(*(ref[...] for ref in given))), strict=True):
            ref[...] = value

    return weights


def upper(top: nodes.Nodes, plan: Plan, weights: cell.Weights) -> None:
    """All levels above the chunks', from what is left of the chunks to the roots."""

    def block(source, target, pairs):
        nodes.join(top, source, top, target, pairs, weights)

    nodes.levels(plan.tops, plan.depth, plan.block, block)


def cost(plan: Plan, products: int) -> pl.CostEstimate:
    """Operations and bytes of one call, for the compiler's scheduler; `products` of H x H for each pair."""
    pairs, width = plan.groups * plan.size, plan.tiles * LANES
    return pl.CostEstimate(
        flops=2 * products * pairs * width * width,
        transcendentals=6 * pairs * width,
        bytes_accessed=4 * pairs * plan.width,
    )
