"""The recursion over all sets of free nodes on a TPU in one call: the values stay in VMEM while times go by.

Arithmetic intensity. Through HBM a time reads and writes every value, 8 bytes for n additions and n maxima: 5 flops per
byte at n = 20, and XLA's schedule also writes what it shifts. Here values are written to HBM once, at the end (or once
a time, where all times are asked for), and what binds is the unit that turns registers, seven times for each.

Layout. Bits 0 to 6 of a set are the lane, bits 7 to 9 the sublane, the others the register. A node of a lane's bit is
removed by turning the register, one of a sublane's by loading from some rows above, both with weight -inf in places
where the node is not free; a node of the next few bits by taking another register of the same block, which are all in
flight; one of an upper bit by loading the block whose index lacks that bit, with weight -inf if this block's does. In
front of the first register there are rows that no free node leads to.

In place. A set without a node has a smaller index, so blocks are visited from the last to the first: what a block reads
from others was not yet overwritten, and what it reads from itself it has in registers.

Grid (chunks of time from the last to the first, pieces of what is written); where all times are asked for, a chunk is
one time, and before the first of them comes the end of time. Fewer than 10 nodes get others of weight -inf beside them;
times beyond the last, where chunks do not divide them, have nobody arrive.

The compiler's estimates are in `cases.py`. Source: as `reference.py`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES

__all__ = ["Call", "MAX_NODES", "backward", "cost", "subset_dp", "unsupported"]

#: Whose values, 32 MiB, fit VMEM on all generations but v4.
MAX_NODES = 23
_LANE_BITS, _LOW_BITS = 7, 10  # of a lane; of a register
_REGISTER = SUBLANES, LANES
_TOGETHER = 4  # log2 of the registers of a block: their values and best values are in flight
_DEFAULT_VMEM = 14 << 20  # of the 16 MiB that a kernel gets without asking on every generation
_MAX_SCALARS = 1 << 12  # weights of a chunk of times in SMEM; spread over registers they fill 16 MiB
_SETS_OF_A_STEP = 1 << 14  # and times: enough work for a grid step not to be noticed
_PIECE = 512  # registers written to HBM at a time


def unsupported(weights, arrivals, *, keep=False):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    if weights.dtype != "float32":
        return f"weights are {weights.dtype}, the kernel computes in float32"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    _, types, nodes = weights.shape
    if nodes > MAX_NODES:
        return f"values of all sets of n={nodes} nodes do not fit VMEM, those of {MAX_NODES} do"
    if types * max(nodes, _LOW_BITS) > _MAX_SCALARS:
        return f"J={types} types of n={nodes} nodes have more weights at one time than fit"
    return None


def _chunk(times, types, nodes, keep):
    """Times of a grid step: one where a time is long or wanted, else as even as they can be."""
    most = 1 if keep else max(1, min(_SETS_OF_A_STEP >> nodes, _MAX_SCALARS // (types * nodes)))
    return -(-times // -(-times // most))


def cost(times, types, nodes, keep):
    """Flops and bytes of one call, for the compiler's scheduler."""
    sets = 1 << nodes
    written = 4 * sets * (times + 1 if keep else 1)
    return pl.CostEstimate(
        flops=times * types * sets * (2 * nodes + 3),
        transcendentals=0,
        bytes_accessed=written + 4 * times * types * (nodes + 1),
    )


def subset_dp(weights, arrivals, *, keep=False, together=_TOGETHER, interpret=False):
    """Same contract as `api.subset_dp`; float32 only. `together` and `interpret` as in `backward`."""
    times, types = arrivals.shape
    asked, nodes = weights.shape[-1], max(weights.shape[-1], _LOW_BITS)
    size = _chunk(times, types, nodes, keep)
    chunks = -(-times // size)
    per_time = weights.shape[0] > 1
    weights = _blocks.pad_axis(weights, 2, nodes, -jnp.inf)
    if per_time:
        weights = _blocks.pad_axis(weights, 0, chunks * size).reshape(chunks, -1)
    else:
        weights = jnp.broadcast_to(weights.reshape(1, -1), (chunks, types * nodes))
    arrivals = _blocks.pad_axis(arrivals, 0, chunks * size).reshape(chunks, -1)
    rows = jnp.concatenate([weights, arrivals], axis=1)[:, None]
    call = Call(nodes, size, types, per_time, keep, together)
    values = backward(rows, call, interpret=interpret)
    values = values.reshape(-1, 1 << nodes)[:, : 1 << asked]
    return values if keep else values[0]


class Call(NamedTuple):
    """What a call is, beside its numbers."""

    nodes: int  # >= 10
    size: int  # times of a chunk; 1 with `keep`
    types: int
    per_time: bool  # whether weights depend on time
    keep: bool
    together: int = _TOGETHER  # log2 of the registers of a block, if there are as many

    @property
    def scalars(self):
        """Of a chunk."""
        return self.types * (self.nodes * (self.size if self.per_time else 1) + self.size)


def backward(rows, call, *, interpret=False):
    """The kernel itself.

    Args:
      rows: `[C, 1, K]`, a row for each chunk of times: weights by time (or of one time, if they do not depend on it),
        type and node, then arrivals by time and type.
      call: `Call`.
      interpret: as in `pl.pallas_call`.

    Returns:
      values, `[1, 2^(n - 10), 8, 128]`, with `keep` `[C + 1, ...]`.
    """
    chunks = len(rows)
    keep = call.keep
    registers = 1 << (call.nodes - _LOW_BITS)
    piece = min(_PIECE, registers)
    before = 1 if keep else 0  # grid steps before time goes back

    def chunk_of(step):
        return jnp.minimum(chunks - 1 - step + before, chunks - 1)

    def written(step, part):
        # Without `keep` nothing is written before the last step: until then the first block stays where it is.
        return (chunks - step, part, 0, 0) if keep else (0, jnp.where(step == chunks - 1, part, 0), 0, 0)

    return pl.pallas_call(
        functools.partial(_kernel, call=call),
        grid=(chunks + before, registers // piece),
        in_specs=[pl.BlockSpec((1, 1, call.scalars), lambda step, _: (chunk_of(step), 0, 0), memory_space=pltpu.SMEM)],
        out_specs=pl.BlockSpec((1, piece, *_REGISTER), written),
        out_shape=jax.ShapeDtypeStruct((chunks + 1 if keep else 1, registers, *_REGISTER), rows.dtype),
        scratch_shapes=[
            pltpu.VMEM(((registers + 1) * SUBLANES, LANES), rows.dtype),
            pltpu.VMEM((call.types * _LOW_BITS, *_REGISTER), rows.dtype),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary", "arbitrary"),
            vmem_limit_bytes=_vmem(registers + 2 * piece, call.types),
        ),
        cost_estimate=cost(chunks * call.size, call.types, call.nodes, keep),
        interpret=interpret,
        name="subset_dp",
    )(rows)


def _vmem(registers, types):
    needed = 4 * SUBLANES * LANES * (registers + 1 + types * _LOW_BITS)
    return None if needed <= _DEFAULT_VMEM else needed + (8 << 20)


def _kernel(row, out, state, low, *, call):
    nodes, size, types, per_time, keep, together = call
    step, part = (pl.program_id(axis) for axis in (0, 1))
    block = 1 << min(together, nodes - _LOW_BITS)
    blocks = (1 << (nodes - _LOW_BITS)) // block
    arrivals_at = call.scalars - size * types

    @pl.when((step == 0) & (part == 0))
    def _():
        state[:SUBLANES] = jnp.zeros(_REGISTER, state.dtype)

        def clear(index, carry):
            for r in range(block):
                state[_rows(index * block + r)] = jnp.zeros(_REGISTER, state.dtype)
            return carry

        jax.lax.fori_loop(0, blocks, clear, 0)

    def one_time(i, carry):
        time = size - 1 - i

        def weight(kind, bit):
            return row[0, 0, ((time if per_time else 0) * types + kind) * nodes + bit]

        def one_block(j, carry):
            index = blocks - 1 - j
            here = index * block
            now = [state[_rows(here + r)] for r in range(block)]

            def one_type(kind, gained):
                best = _best(state, index, now, low, functools.partial(weight, kind), kind, nodes)
                p = row[0, 0, arrivals_at + time * types + kind]
                return [g + p * (b - v) for g, b, v in zip(gained, best, now, strict=True)]

            for r, value in enumerate(_over_types(types, one_type, now)):
                state[_rows(here + r)] = value
            return carry

        _spread_low(weight, low, types)
        return jax.lax.fori_loop(0, blocks, one_block, carry)

    @pl.when((part == 0) & (step >= (1 if keep else 0)))
    def _():
        jax.lax.fori_loop(0, size, one_time, 0)

    @pl.when(keep | (step == pl.num_programs(0) - 1))
    def _():
        piece = out.shape[1]

        def write(index, carry):
            for r in range(block):
                out[0, index * block + r] = state[_rows(part * piece + index * block + r)]
            return carry

        jax.lax.fori_loop(0, piece // block, write, 0)


def _rows(register, above=0):
    """Where a register is in the values, or what is `above` rows of 128 sets above it."""
    return pl.ds((register + 1) * SUBLANES - above, SUBLANES)


def _spread_low(weight, low, types):
    """Weights of the low bits of one time, each in the places of a register where its node is free, -inf elsewhere."""
    lane, sublane = (jax.lax.broadcasted_iota(jnp.int32, _REGISTER, axis) for axis in (1, 0))

    def one_type(kind, carry):
        for bit in range(_LOW_BITS):
            place, bit_there = (lane, bit) if bit < _LANE_BITS else (sublane, bit - _LANE_BITS)
            low[kind * _LOW_BITS + bit] = jnp.where(place & (1 << bit_there) != 0, weight(kind, bit), -jnp.inf)
        return carry

    _over_types(types, one_type, 0)


def _best(state, index, now, low, weight, kind, nodes):
    """Best of waiting and of every match, for the registers `now` of block `index`."""
    together = len(now).bit_length() - 1
    best = []
    for r, value in enumerate(now):
        most = value
        for bit in range(_LOW_BITS):
            if bit < _LANE_BITS:
                without = pltpu.roll(value, 1 << bit, 1)
            else:
                without = state[_rows(index * len(now) + r, above=1 << (bit - _LANE_BITS))]
            most = jnp.maximum(most, without + low[kind * _LOW_BITS + bit])
        best.append(most)
    for bit in range(together):
        added = weight(_LOW_BITS + bit)
        for r in range(len(now)):
            if r >> bit & 1:
                best[r] = jnp.maximum(best[r], now[r & ~(1 << bit)] + added)
    for bit in range(nodes - _LOW_BITS - together):
        added = jnp.where(index & (1 << bit) != 0, weight(_LOW_BITS + together + bit), -jnp.inf)
        there = (index & ~(1 << bit)) * len(now)
        best = [jnp.maximum(b, state[_rows(there + r)] + added) for r, b in enumerate(best)]
    return best


def _over_types(types, one, init):
    if types == 1:
        return one(0, init)
    return jax.lax.fori_loop(0, types, one, init)
