"""Prequential ridge on a TPU, each program in registers of its own: the matrix unit and a chain of eliminations.

Arithmetic intensity. A block of B rows costs 4 d^2 + 2 B d + B (B + d) flops per row and streams 4 d bytes per row: at
d = 96, B = 32, 47 kflop for 512 bytes, about 90 flops per byte, so HBM is not the limit. Neither is the MXU: the
B-step elimination is a chain of dependent vector operations, and its latency is. Several programs per grid step run
their chains side by side; that, and touching only the register tiles below the pivot, is what this kernel is about.

One matrix holds the state, Q = [[P, -theta], [0, 1]], and one row the data, z = (x, y). Then z Q = (x P, y - x theta),
one product gives the gains and the residuals, elimination treats both alike, and Q -= V' (V, e) updates both:

    Z = z Q = (X P | e0);  S = I + X P X';  eliminate [S | Z] -> D, (U | e);  Q -= (D^-1/2 U | 0)' (D^-1/2 U | D^-1/2 e)

The compiler's estimate for a v5e (libtpu 0.0.42.1; not a measurement): 40 cycles per row and program up to d = 127
whatever d, with 43 % of the vector and 27 % of the matrix slots filled; 157 at d = 256, with 30 % and 63 %.

Grid (groups of programs, blocks of rows); the second axis is sequential. Source: as `xla.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels.prequential_ridge.output import Output
from pallas_kernels.prequential_ridge.xla import take_rows

__all__ = ["cost", "fitting", "prequential_ridge", "stream", "too_wide", "vmem_bytes"]

_HIGHEST = jax.lax.Precision.HIGHEST
_VMEM_BUDGET = 14 << 20  # of the 16 MiB a kernel gets without asking on every TPU generation
_SIDE_BY_SIDE = 8  # programs whose chains interleave; more of them run out of registers


def too_wide(width, sizes):
    """Why one program's state cannot stay in VMEM, in the caller's terms, or None."""
    if vmem_bytes(width, _blocks.BlockSizes(sizes.rows, 1)) > _VMEM_BUDGET:
        return f"d={width} features are too many to keep one program's d x d state in VMEM"
    return None


def fitting(width, num_programs, sizes):
    """As many programs side by side as asked for, as there are, and as VMEM holds."""
    programs = min(sizes.programs, num_programs, _SIDE_BY_SIDE)
    while programs > 1 and vmem_bytes(width, _blocks.BlockSizes(sizes.rows, programs)) > _VMEM_BUDGET:
        programs -= 1
    return _blocks.BlockSizes(sizes.rows, programs)


def vmem_bytes(width, sizes):
    """On-chip memory of one grid step: state in and out and rows, all double-buffered, and elimination scratch."""
    columns = _blocks.round_up(width + 1, _blocks.LANES)
    state, rows = columns * columns, sizes.rows * columns
    return 4 * sizes.programs * (4 * state + 2 * rows + 2 * (rows + sizes.rows * _blocks.LANES))


def cost(num_programs, num_blocks, width, sizes):
    """Flops and bytes of one call, for the compiler's scheduler."""
    columns = _blocks.round_up(width + 1, _blocks.LANES)
    block = sizes.rows
    per_block = 4 * block * columns**2 + 2 * block**2 * columns + block**2 * (block + columns)
    traffic = num_programs * (num_blocks * block * columns + 2 * columns**2)
    return pl.CostEstimate(
        flops=num_programs * num_blocks * per_block,
        transcendentals=num_programs * num_blocks * block,
        bytes_accessed=4 * traffic,
    )


def prequential_ridge(features, labels, rows, factor, weights, *, sizes, interpret=False):
    """Same contract as `api.prequential_ridge`; float32 only. `sizes` as `fitting` returns them."""
    num_programs, length = rows.shape
    width = features.shape[1]
    columns = _blocks.round_up(width + 1, _blocks.LANES)
    padded = _blocks.round_up(num_programs, sizes.programs)
    groups, num_blocks = padded // sizes.programs, -(-length // sizes.rows)

    rows = _blocks.pad_axis(_blocks.pad_axis(rows, 1, num_blocks * sizes.rows, -1), 0, padded, -1)
    # What one grid step reads lies together.
    rows = jnp.swapaxes(rows.reshape(groups, sizes.programs, num_blocks, sizes.rows), 1, 2)
    x, y = take_rows(features, labels, rows)
    data = _blocks.pad_axis(jnp.concatenate([x, y[..., None]], axis=4), 4, columns)
    state = jnp.zeros((padded, columns, columns), features.dtype)
    state = state.at[:num_programs, :width, :width].set(factor).at[:num_programs, :width, width].set(-weights)
    state = state.at[:, width, width].set(1)
    occupied = jnp.any(rows >= 0, axis=(2, 3))
    # Blocks after a group's last row are not fetched and not computed.
    used = jnp.max(jnp.where(occupied, jnp.arange(1, num_blocks + 1, dtype=jnp.int32)[None], 0), axis=1)

    trace, state = stream(data, state, used, width=width, sizes=sizes, interpret=interpret)
    trace = jnp.moveaxis(trace, (3, 2), (0, 2)).reshape(2, padded, -1)
    residual, pivot = trace[:, :num_programs, :length]
    return Output(residual, pivot, state[:num_programs, :width, :width], -state[:num_programs, :width, width])


def stream(data, state, used, *, width, sizes, interpret=False):
    """The kernel itself, on rows already gathered.

    Args:
      data: `[groups, blocks, W, B, C]` rows `(x, y)` padded with zeros to C columns, for W = `sizes.programs` programs.
      state: `[groups * W, C, C]` matrices Q.
      used: `[groups]` blocks to compute of each group of programs.

    Returns:
      `[groups, blocks, W, 2, B]` residuals and pivots, and the final `state`.
    """
    groups, num_blocks, *_, columns = data.shape

    def row_block(group, block, used):
        return group, jnp.minimum(block, jnp.maximum(used[group] - 1, 0)), 0, 0, 0

    held = pl.BlockSpec((sizes.programs, columns, columns), lambda group, block, used: (group, 0, 0))
    return pl.pallas_call(
        functools.partial(_kernel, width=width),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(groups, num_blocks),
            in_specs=[pl.BlockSpec((1, 1, sizes.programs, sizes.rows, columns), row_block), held],
            out_specs=[
                pl.BlockSpec((1, 1, sizes.programs, 2, sizes.rows), lambda group, block, used: (group, block, 0, 0, 0)),
                held,
            ],
        ),
        out_shape=[
            jax.ShapeDtypeStruct((groups, num_blocks, sizes.programs, 2, sizes.rows), data.dtype),
            jax.ShapeDtypeStruct(state.shape, state.dtype),
        ],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=cost(len(state), num_blocks, width, sizes),
        interpret=interpret,
        name="prequential_ridge",
    )(used, data, state)


def _kernel(used, data, start, trace, state, *, width):
    group, block = pl.program_id(0), pl.program_id(1)

    @pl.when(block == 0)
    def _():
        state[...] = start[...]

    @pl.when(block < used[group])
    def _():
        _learn(data, trace, state, width)

    @pl.when(block >= used[group])
    def _():
        is_pivot = jax.lax.broadcasted_iota(jnp.int32, trace.shape, 3) == 1
        trace[...] = is_pivot.astype(trace.dtype)


def _learn(data, trace, state, width):
    programs, size, columns = data.shape[2:]
    is_feature = jax.lax.broadcasted_iota(jnp.int32, (1, columns), 1) != width
    diagonal = _iota(size, 0) == _iota(size, 1)
    gram, gain = [], []
    for p in range(programs):
        product = _dot(data[0, 0, p], state[p], ((1,), (0,)))
        x = jnp.where(is_feature, data[0, 0, p], 0)
        gram.append(diagonal.astype(x.dtype) + _dot(jnp.where(is_feature, product, 0), x, ((1,), (1,))))
        gain.append(product)
    for p, (pivots, update) in enumerate(_eliminate(gram, gain)):
        pivot = jnp.sum(jnp.where(diagonal, pivots, 0), axis=1, keepdims=True)
        scaled = update / jnp.sqrt(pivot)
        state[p] -= _dot(jnp.where(is_feature, scaled, 0), scaled, ((0,), (0,)))
        residual = jnp.sum(jnp.where(is_feature, 0, update), axis=1, keepdims=True)
        # A column becomes a row by summing its diagonal matrix.
        for i, column in enumerate((residual, pivot)):
            trace[0, 0, p, i : i + 1, :] = jnp.sum(jnp.where(diagonal, column, 0), axis=0, keepdims=True)


def _eliminate(gram, gain):
    """Forward elimination of `[S | Z]` for each program: `(upper factor with D on its diagonal, L^-1 Z)`.

    Rows are held as tiles of eight; a step touches the tiles from its pivot on. The programs' chains are independent
    and interleave.
    """
    tall = _blocks.SUBLANES
    size = gram[0].shape[0]
    tiles = [
        [(s[t : t + tall], z[t : t + tall]) for t in range(0, size, tall)] for s, z in zip(gram, gain, strict=True)
    ]
    inside = jax.lax.broadcasted_iota(jnp.int32, (tall, 1), 0)
    for k in range(size):
        home, offset = divmod(k, tall)
        for own in tiles:
            s_row, z_row = (v[offset : offset + 1] for v in own[home])
            reciprocal = 1 / s_row[:, k : k + 1]
            for t in range(home, len(own)):
                s, z = own[t]
                ratio = s[:, k : k + 1] * reciprocal
                if t == home:
                    ratio = jnp.where(inside > offset, ratio, 0)
                own[t] = s - ratio * s_row, z - ratio * z_row
    return [tuple(jnp.concatenate(parts, axis=0) for parts in zip(*own, strict=True)) for own in tiles]


def _iota(size, axis):
    return jax.lax.broadcasted_iota(jnp.int32, (size, size), axis)


def _dot(a, b, contract):
    return jax.lax.dot_general(a, b, (contract, ((), ())), precision=_HIGHEST, preferred_element_type=a.dtype)
