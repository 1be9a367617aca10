"""Balanced trees of a learned operator on a TPU: weights and all levels on the chip, every element read once.

A step of the grid holds 2,048 rows of elements and does their first two levels in blocks of 512 pairs; what is left, a
quarter, stays on the chip, and the step with the last rows of some collections does all their other levels. Neighbours
are put side by side by reads of every other row, which the schedule charges as reads of rows in a row. Levels of fewer
pairs than a block wait for the chain of an operator, some 400 cycles, whatever they hold: collections share them.

Limits: 16 H^2 operations an element with the weights packed as in `cell`, of 24 as defined, against 4 H bytes: for 128
channels the matrix unit of a v5e takes 2,000 cycles for 1,024 elements in one pass and their bytes 960, of a v6e 500
and 560. The six exponentials or tanh of a pair take their unit 770 cycles for 1,024 elements.

The compiler's estimate (libtpu 0.0.42.1; not a measurement), cycles of the whole public function for collections x
elements of 128 channels, with all that XLA does around the kernel, whatever is absent; `shapes` makes more of it.

                                      v5e       XLA       v6e       XLA
    value, 1 x 1,024                8,171    32,796     6,748    23,045
    value, 1 x 4,096               20,749    71,599    15,534    49,570
    value, 8 x 1,024               32,852    85,776    24,364    53,321
    with derivatives, 1 x 1,024    28,920    99,343    22,290    65,818

XLA with weights packed as here takes 65,206 and 50,784 for 1 x 4,096: what it spends is not in the products.

Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES
from pallas_kernels.monoid_tree import cell, nodes, steps
from pallas_kernels.monoid_tree.plan import Plan, most_elements, padded, plan

__all__ = ["forward", "monoid_tree", "unsupported"]

_MOST_CHANNELS = 256
_PRECISIONS = (None, "default", "bfloat16", "highest", "float32")


def unsupported(x, *rest):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del rest
    if x.dtype != "float32":
        return f"x is {x.dtype}, the kernel computes in float32"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    if (setting := jax.config.jax_default_matmul_precision) not in _PRECISIONS:
        return f"the default precision of products is {setting!r}, the kernel has one pass or all of float32"
    if x.shape[2] > _MOST_CHANNELS:
        return f"H={x.shape[2]} channels are more than {_MOST_CHANNELS}"
    if x.shape[1] > (most := most_elements(x.shape[2])):
        return f"N={x.shape[1]} elements are more than {most}, with H={x.shape[2]} channels"
    return None


def monoid_tree(x, mask, *weights, interpret=False):
    """Same contract as `api.monoid_tree`; float32 only. `interpret` as in `pl.pallas_call`."""
    return forward(x, mask, *weights, interpret=interpret)[0]


def forward(x, mask, *weights, keep=False, interpret=False, **sizes):
    """Values, `[G, H]`; with `keep` what is left of chunks of leaves too, for the way back. `sizes` as of `plan`."""
    x, mask = padded(x, mask)
    how = plan(*x.shape, **sizes)
    lines = steps.lines(mask, how)
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=x.dtype, manual_axis_type=jax.typeof(x).manual_axis_type)
    outputs = [
        ((how.steps, how.together, how.width), pl.BlockSpec((1, how.together, how.width), lambda s, k: (s, 0, 0))),
        ((how.steps * how.tops, how.width), pl.BlockSpec((how.kept, how.width), lambda s, k: (s * how.chunks + k, 0))),
    ][: 1 + keep]
    roots, *left = pl.pallas_call(
        functools.partial(_kernel, plan=how, keep=keep),
        grid=(how.steps, how.chunks),
        in_specs=[
            steps.chunk_spec(how),
            pl.BlockSpec((1, *lines.shape[1:]), lambda s, k: (s * how.chunks + k, 0, 0)),
            *steps.weight_specs(how),
        ],
        out_specs=[spec for _, spec in outputs],
        out_shape=[shape(size) for size, _ in outputs],
        scratch_shapes=[
            *steps.weight_scratch(how),
            *nodes.scratch(how.rows, how.tiles + 1),
            *nodes.scratch(2 * how.tops, how.tiles + 1),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=steps.LIMIT
        ),
        cost_estimate=steps.cost(how, 8),
        interpret=interpret,
        name="monoid_tree",
    )(x.reshape(-1, how.width), lines, *cell.padded(*weights, how.tiles * LANES))
    return roots.reshape(-1, how.width)[: how.groups], *left


def _kernel(x, mask, *rest, plan: Plan, keep):
    given, roots, left, scratch = rest[:4], rest[4], rest[5 : 5 + keep], rest[5 + keep :]
    weights, scratch = steps.packed(given, scratch[: cell.LEAVES]), scratch[cell.LEAVES :]
    work, top = nodes.two(scratch)
    k = pl.program_id(1)
    at = pl.multiple_of(k * plan.kept, plan.kept)

    @pl.when(steps.exists(plan))
    def _():
        nodes.mark(mask.at[0], work.there, plan.rows)
        leaves = work
        if plan.width == LANES:
            leaves = work._replace(values=(x,))
        else:
            nodes.copy(x, work.values)
        for level in range(plan.levels):
            last = level == plan.levels - 1
            source, target, base = work if level else leaves, top if last else work, at if last else 0

            def block(number, _, source=source, target=target, base=base):
                start = pl.multiple_of(number * plan.block, plan.block)
                nodes.join(source, 2 * start, target, base + start, plan.block, weights)
                return 0

            # In place: a block writes where it or one before has read.
            jax.lax.fori_loop(0, (plan.rows >> level + 1) // plan.block, block, 0)

    @pl.when(jnp.logical_not(steps.exists(plan)))
    def _():
        top.there[pl.ds(at, plan.kept), :] = jnp.zeros((plan.kept, LANES), jnp.float32)

    if keep:
        nodes.put(left[0], top.values, at)

    @pl.when(k == plan.chunks - 1)
    def _():
        steps.upper(top, plan, weights)
        nodes.put(roots.at[0], top.values, nodes.first(plan.depth, plan.tops), top.there)
