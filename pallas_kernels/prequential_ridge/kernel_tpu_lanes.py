"""Prequential ridge on a TPU, one program in each lane: a vector instruction advances 128 learners.

Arithmetic intensity. A row costs `4 d^2` flops of a program and streams `4 d` bytes: d flops per byte, 5 times what HBM
can feed to the vector unit (four multiplications or additions of 1,024 numbers per cycle, no fused ones). So the vector
unit is the wall: `4 d^2 / 8` instructions per row serve 128 programs, `d^2 / 8` cycles, 0.8 per row and program at
d = 25 (whose state is padded to 32 rows) and 9 at d = 96. The matrix unit could not help: every program has a matrix of
its own, and a product in float32 costs six of its passes.

Nothing here crosses lanes. `state[j]` holds column j of P, features along sublanes, and after them theta. A few rows
are learnt together so that P is read twice and written once for all of them:

    G = P X';  S = I + X G;  S = L D L', scaled as S = C C';  U = C^-1 G';  P -= U'U;  theta += U' C^-1 (y - X theta)

The chain of square roots in C is latency; the two registers of programs that one step serves hide it from each other.

The compiler's estimate for a v5e (libtpu 0.0.42.1; not a measurement): 0.98 cycles per row and program at d = 25 with
82 % of the vector slots filled, 10.5 at d = 96, where one register of programs is all that VMEM holds, with 87 %.

Grid (groups of programs, blocks of rows); the second axis is sequential and the state stays in VMEM meanwhile. Source:
as `xla.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.prequential_ridge.output import Output
from pallas_kernels.prequential_ridge.xla import take_rows

__all__ = ["cost", "fitting", "prequential_ridge", "stream", "vmem_bytes"]

_VMEM_BUDGET = 14 << 20  # of the 16 MiB a kernel gets without asking on every TPU generation
_TOGETHER = 4  # rows learnt together; more of them save passes over P and cost a longer elimination
_ACCUMULATORS = 32  # registers, of 64, for sums that grow over a loop
_UNROLLED = 16  # columns of P per iteration of the loops over them; all of them if they are at most twice as many


def vmem_bytes(width, sizes):
    """On-chip memory of one grid step: the state in and out, rows and traces double-buffered, and scratch."""
    registers = sizes.programs // LANES
    tall = _blocks.round_up(width, SUBLANES)
    rows = 2 * sizes.rows * (tall + 3)
    return 4 * LANES * registers * (2 * (width + 1) * tall + rows + _TOGETHER * tall)


def fitting(width, num_programs, sizes):
    """Sizes that fit VMEM and the number of programs, or None: `rows` divides what was asked for."""
    filled = -(-num_programs // LANES)
    registers = min(sizes.programs // LANES, filled)
    while filled % registers:
        registers -= 1
    for side_by_side in sorted({registers, 1}, reverse=True):
        rows = sizes.rows
        while vmem_bytes(width, _blocks.BlockSizes(rows, side_by_side * LANES)) > _VMEM_BUDGET and not rows % 16:
            rows //= 2
        found = _blocks.BlockSizes(rows, side_by_side * LANES)
        if vmem_bytes(width, found) <= _VMEM_BUDGET:
            return found
    return None


def cost(num_groups, num_blocks, width, sizes):
    """Flops and bytes of one call, for the compiler's scheduler."""
    tall = _blocks.round_up(width, SUBLANES)
    programs, rows = num_groups * sizes.programs, num_blocks * sizes.rows
    return pl.CostEstimate(
        flops=programs * rows * (4 * width * tall + 2 * (_TOGETHER + 3) * tall),
        transcendentals=programs * rows,
        bytes_accessed=4 * programs * (rows * (tall + 3) + 2 * (width + 1) * tall),
    )


def prequential_ridge(features, labels, rows, factor, weights, *, sizes, interpret=False):
    """Same contract as `api.prequential_ridge`; float32 only. `sizes` as `fitting` returns them."""
    num_programs, length = rows.shape
    width = features.shape[1]
    registers = sizes.programs // LANES
    padded = _blocks.round_up(num_programs, sizes.programs)
    groups, num_blocks = padded // sizes.programs, -(-length // sizes.rows)

    # A group runs as long as its longest program, so programs of like length go together.
    order = jnp.argsort(-jnp.sum(rows >= 0, axis=1)) if groups > 1 else jnp.arange(num_programs)
    inverse = jnp.argsort(order)

    rows = _blocks.pad_axis(_blocks.pad_axis(rows[order], 1, num_blocks * sizes.rows, -1), 0, padded, -1)
    rows = jnp.transpose(rows.reshape(groups, registers, LANES, num_blocks, sizes.rows), (0, 3, 1, 4, 2))
    x, y = take_rows(features, labels, rows)
    x = _blocks.pad_axis(jnp.swapaxes(x, 4, 5), 4, _blocks.round_up(width, SUBLANES))
    state = jnp.concatenate([factor, weights[:, None]], axis=1)[order]
    state = _blocks.pad_axis(_blocks.pad_axis(state, 0, padded), 2, x.shape[4])
    state = jnp.moveaxis(state.reshape(groups, registers, LANES, *state.shape[1:]), 2, 4)
    occupied = jnp.any(rows >= 0, axis=(2, 3, 4))
    # Blocks after a group's last row are not fetched and not computed.
    used = jnp.max(jnp.where(occupied, jnp.arange(1, num_blocks + 1, dtype=jnp.int32)[None], 0), axis=1)

    *trace, state = stream(x, y, state, used, width=width, interpret=interpret)
    residual, pivot = (jnp.transpose(v, (0, 2, 4, 1, 3)).reshape(padded, -1)[inverse, :length] for v in trace)
    state = jnp.moveaxis(state, 4, 2).reshape(padded, width + 1, -1)[inverse, :, :width]
    return Output(residual, pivot, state[:, :width], state[:, width])


def stream(x, y, state, used, *, width, interpret=False):
    """The kernel itself, on rows already gathered, for R registers of 128 programs side by side.

    Args:
      x: `[groups, blocks, R, B, D, 128]` features, padded with zeros to D of them, a multiple of 8.
      y: `[groups, blocks, R, B, 128]` labels.
      state: `[groups, R, d + 1, D, 128]` rows of P, then theta; d = `width`.
      used: `[groups]` blocks to compute of each group of programs.

    Returns:
      residuals and pivots, shaped as `y`, and the final `state`.
    """
    groups, num_blocks, registers, size, tall, _ = x.shape
    sizes = _blocks.BlockSizes(size, registers * LANES)

    def row_block(group, block, used):
        return group, jnp.minimum(block, jnp.maximum(used[group] - 1, 0)), 0, 0, 0

    trace = pl.BlockSpec((1, 1, registers, size, LANES), lambda group, block, used: (group, block, 0, 0, 0))
    # The state moves once per group: a second buffer would cost more VMEM than it hides.
    held = pl.BlockSpec(
        (1, *state.shape[1:]), lambda group, block, used: (group, 0, 0, 0, 0), pipeline_mode=pl.Buffered(1)
    )
    return pl.pallas_call(
        functools.partial(_kernel, width=width, unroll=1 if interpret else _UNROLLED),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(groups, num_blocks),
            in_specs=[
                pl.BlockSpec((1, 1, registers, size, tall, LANES), lambda *ids: (*row_block(*ids), 0)),
                pl.BlockSpec((1, 1, registers, size, LANES), row_block),
                held,
            ],
            out_specs=[trace, trace, held],
            scratch_shapes=[pltpu.VMEM((registers, _TOGETHER, tall, LANES), state.dtype)],
        ),
        out_shape=[jax.ShapeDtypeStruct(v.shape, v.dtype) for v in (y, y, state)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=cost(groups, num_blocks, width, sizes),
        interpret=interpret,
        name="prequential_ridge",
    )(used, x, y, state)


def _kernel(used, x, y, start, residual, pivot, state, updates, *, width, unroll):
    group, block = pl.program_id(0), pl.program_id(1)

    @pl.when(block == 0)
    def _():
        @pl.loop(0, width + 1)
        def _(j):
            state[0, :, j] = start[0, :, j]

    @pl.when(block < used[group])
    def _():
        @pl.loop(0, x.shape[3] // _TOGETHER)
        def _(i):
            rows = pl.ds(pl.multiple_of(i * _TOGETHER, _TOGETHER), _TOGETHER)
            for r in range(x.shape[2]):
                traces = (ref.at[0, 0, r, rows] for ref in (x, y, residual, pivot))
                _learn(*traces, state.at[0, r], updates.at[r], width, unroll)

    @pl.when(block >= used[group])
    def _():
        residual[...] = jnp.zeros_like(residual)
        pivot[...] = jnp.ones_like(pivot)


def _learn(x, y, residual, pivot, state, updates, width, unroll):
    """`x [B, D, 128]`, `y [B, 128]`, `residual` and `pivot` alike, `state [d + 1, D, 128]`, `updates [B, D, 128]`."""
    size, tall, _ = x.shape
    band = SUBLANES * (_ACCUMULATORS // size)
    bands = [slice(low, min(low + band, tall)) for low in range(0, tall, band)]
    loop = functools.partial(jax.lax.fori_loop, 0, width, unroll=width if width <= 2 * unroll else unroll)

    sums = []
    for rows in bands:

        def add_column(j, sums, rows=rows):
            column = state[j, rows]
            return tuple(total + column * x[k, pl.ds(j, 1)] for k, total in enumerate(sums))

        zero = jnp.zeros((rows.stop - rows.start, LANES), state.dtype)
        sums.append(loop(add_column, (zero,) * size))
    gain = [jnp.concatenate(parts, axis=0) for parts in zip(*sums, strict=True)]

    weights = state[width]
    own, trace = _eliminate([x[k] for k in range(size)], gain, [y[k : k + 1] for k in range(size)], weights)
    for k, (own_residual, own_pivot, innovation) in enumerate(trace):
        residual[k : k + 1] = own_residual
        pivot[k : k + 1] = own_pivot
        updates[k] = own[k]
        weights += own[k] * innovation
    state[width] = weights

    for rows in bands:
        own = [updates[k, rows] for k in range(size)]

        def subtract(j, none, rows=rows, own=own):
            column = state[j, rows]
            for k, update in enumerate(own):
                column -= update * updates[k, pl.ds(j, 1)]
            state[j, rows] = column
            return none

        loop(subtract, None)


def _eliminate(x, gain, label, weights):
    """`(U, trace)` of rows `x`, gains `P x` and labels, where a row's trace is its residual, pivot and innovation."""
    size = len(x)
    gain = list(gain)
    error = [label[k] - _total(x[k] * weights) for k in range(size)]
    gram = {(m, k): _total(x[m] * gain[k]) for m in range(size) for k in range(m + 1)}
    trace = []
    for k in range(size):
        pivot = 1 + gram[k, k]
        scale = jax.lax.rsqrt(pivot)
        gain[k] = gain[k] * scale
        innovation = error[k] * scale
        trace.append((error[k], pivot, innovation))
        below = {m: gram[m, k] * scale for m in range(k + 1, size)}
        for m, ratio in below.items():
            for q in range(k + 1, m + 1):
                gram[m, q] -= ratio * below[q]
            gain[m] = gain[m] - ratio * gain[k]
            error[m] = error[m] - ratio * innovation
    return gain, trace


def _total(v):
    return jnp.sum(v, axis=0, keepdims=True)
