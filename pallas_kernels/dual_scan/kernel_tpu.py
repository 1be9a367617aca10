"""Both sweeps of `dual_scan` on a TPU in one call: an instance in each lane, the nodes' values in registers.

Arithmetic intensity. A gain is read once and costs 16 operations, an exponential, a logarithm and a reciprocal among
them: 4 flops per byte. On a v5e HBM delivers a register of 1,024 gains in 7.5 cycles, and its arithmetic fills
the vector unit for some 5: HBM is the wall wherever gains depend on time, the vector unit where they do not. What
stands before either is latency, the chain s, exp, log, V of one time step after the other; a band of nodes that are a
dozen registers or more hides it, whence the sizes.

Grid (tiles of instances, two passes over chunks of time); the second axis is sequential. The first pass goes back in
time, V of one band of nodes in registers for a whole chunk, and keeps the acceptances in VMEM for the second, which
reads no gains. Where they do not fit, the first pass keeps V at the end of each chunk, and the second takes the chunk's
gains, and its backward sweep, again: twice the gains' bytes, where acceptances through HBM would be three times.

With u = (V - w + lam) / mu in units of ln 2, 1 + 2^u gives both: softplus(s) is `(log2(1 + 2^u) - u) ln 2`, and
sigmoid(s) is its reciprocal. (For that 2^-log2(1 + 2^u) would be as good, and a tenth cheaper on a v5e; the profiler of
tpu7x stops at it, and what it does not simulate would have no budget.)

Times beyond the last, where chunks do not divide them, have mass 0: going back they change nothing, and going forwards
they come last.

The compiler's estimates are in `cases.py`. Source: as `reference.py`.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES

__all__ = ["Plan", "cost", "dual_scan", "fitting", "unsupported", "vmem_bytes"]

_LN2 = math.log(2)
_HIGHEST = 80 / _LN2  # u above it is taken as it: 2^u is finite in float32, and 2^-u is zero for every purpose
_DEFAULT_VMEM = 14 << 20  # of the 16 MiB that a kernel gets without asking on every generation
_VMEM = 40 << 20  # of 64 MiB or more on all but v4
_BAND = 32  # registers of V in flight, at most; more of them spill
_UNROLLED = 2  # time steps in a row, so that the loads of one overlap the chain of the other
_TYPES_IN_LINE = 4  # types of one time step side by side: their chains are independent


class Plan(NamedTuple):
    """How a call is cut up."""

    size: int  # times of a chunk
    chunks: int
    tile: int  # instances side by side
    keep: bool  # whether acceptances of all times stay in VMEM


def vmem_bytes(shape, stationary, plan):
    """On-chip memory of one tile; `shape` is (T, J, n) of the call, `stationary` if gains are of one time."""
    _, types, nodes = shape
    wide = 4 * _blocks.round_up(plan.tile, LANES)
    layer = wide * _blocks.round_up(nodes, SUBLANES)
    rows = wide * _blocks.round_up(plan.size * types, SUBLANES)
    gains = 2 * layer * types * (1 if stationary else plan.size)
    accept = layer * types * plan.size * (plan.chunks if plan.keep else 1)
    ends = 0 if plan.keep else plan.chunks * layer
    return gains + accept + ends + layer + (2 * 4 + 3) * rows


def fitting(shape, lanes, stationary, sizes, budget=_VMEM):
    """The `Plan` of a call, of `budget` bytes of VMEM at most, or None: acceptances kept first, then wide tiles."""
    times, types, _ = shape
    step = SUBLANES // math.gcd(SUBLANES, types)  # a chunk's rows fill registers, unless it is the only one
    tiles = sorted({min(lanes, sizes.programs), min(lanes, LANES)}, reverse=True)
    for keep in (True, False):
        for tile in tiles:
            size = _blocks.round_up(sizes.rows, step)
            while size >= step:
                chunks = -(-times // size)
                even = times if chunks == 1 else _blocks.round_up(-(-times // chunks), step)
                plan = Plan(even, -(-times // even), tile, keep)
                if vmem_bytes(shape, stationary, plan) <= budget:
                    return plan
                size = size // 2 // step * step
    return None


def unsupported(gains, arrivals, multipliers, temperature, *, sizes):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    if gains.dtype != "float32":
        return f"gains are {gains.dtype}, the kernel computes in float32"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    per_time, types, nodes, lanes = gains.shape
    times = arrivals.shape[0]
    if fitting((times, types, nodes), lanes, per_time == 1, sizes) is None:
        return f"n={nodes} nodes of J={types} types at T={times} times are too many to keep one chunk of time in VMEM"
    return None


def cost(shape, lanes, per_time, plan):
    """Flops and bytes of one call, for the compiler's scheduler."""
    times, types, nodes = shape
    steps = times * types * nodes * lanes
    again = 0 if plan.keep else 1
    read = per_time * types * nodes * lanes * (1 + (again if per_time > 1 else 0))
    return pl.CostEstimate(
        flops=steps * (13 + 9 * again),
        transcendentals=steps * (3 + 2 * again),
        bytes_accessed=4 * (read + (4 + 2 * again) * times * types * lanes),
    )


def dual_scan(gains, arrivals, multipliers, temperature, *, sizes, budget=_VMEM, interpret=False):
    """Same contract as `api.dual_scan`; float32 only. `budget` as in `fitting`, `interpret` as in `pl.pallas_call`."""
    times, types, lanes = arrivals.shape
    per_time, _, nodes, _ = gains.shape
    shape = times, types, nodes
    plan = fitting(shape, lanes, per_time == 1, sizes, budget)
    size, chunks, tile, keep = plan

    def of_time(step):
        return jnp.where(step < chunks, chunks - 1 - step, step - chunks)

    def going_back(step):
        return jnp.maximum(chunks - 1 - step, 0) if keep else of_time(step)

    def rows(when):
        return pl.BlockSpec((size * types, tile), lambda lane, step: (when(step), lane))

    if per_time == 1:
        of_gains = pl.BlockSpec((1, types, nodes, tile), lambda lane, step: (0, 0, 0, lane))
    else:
        of_gains = pl.BlockSpec((size, types, nodes, tile), lambda lane, step: (going_back(step), 0, 0, lane))
    needed = vmem_bytes(shape, per_time == 1, plan)
    scratch = {
        "state": (nodes, tile),
        "accept": ((chunks if keep else 1) * size * types, nodes, tile),
        "smoothed": (3, size * types, tile),
        "ends": (1 if keep else chunks, nodes, tile),
    }
    load = pl.pallas_call(
        functools.partial(_kernel, times=times, types=types, keep=keep, unroll=1 if interpret else _UNROLLED),
        grid=(-(-lanes // tile), 2 * chunks),
        in_specs=[of_gains, rows(of_time), rows(going_back), rows(going_back)],
        # Nothing is written before the second pass: until then its first block stays where it is.
        out_specs=rows(lambda step: jnp.maximum(step - chunks, 0)),
        out_shape=jax.ShapeDtypeStruct((times * types, lanes), gains.dtype),
        scratch_shapes=[pltpu.VMEM(of, gains.dtype) for of in scratch.values()],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"),
            vmem_limit_bytes=None if needed <= _DEFAULT_VMEM else needed + (8 << 20),
        ),
        cost_estimate=cost(shape, lanes, per_time, plan),
        interpret=interpret,
        name="dual_scan",
    )(gains, *(v.reshape(times * types, lanes) for v in (arrivals, multipliers, temperature)))
    return load.reshape(arrivals.shape)


def _kernel(
    gains, arrivals, multipliers, temperature, load, state, accept, smoothed, ends, *, times, types, keep, unroll
):
    step = pl.program_id(1)
    chunks = pl.num_programs(1) // 2
    forwards = step >= chunks
    chunk = jnp.where(forwards, step - chunks, chunks - 1 - step)
    size = arrivals.shape[0] // types
    ragged = times % size != 0
    left = times - chunk * size  # times of this chunk, if they are fewer than its size
    kept = accept.at[pl.ds(chunk * size * types if keep else 0, size * types)]
    sweep_back = functools.partial(_back, gains, smoothed, kept, left if ragged else None, types, unroll)

    @pl.when((step == 0) | (step == chunks))
    def _():
        state[...] = jnp.full(state.shape, jnp.where(forwards, 1.0, 0.0).astype(state.dtype))

    def smooth():
        heat = temperature[...]
        mass = arrivals[...] * heat * _LN2
        if ragged:
            row = jax.lax.broadcasted_iota(jnp.int32, mass.shape, 0)
            mass = jnp.where(row < left * types, mass, 0)
        inverse = (1 / _LN2) / heat
        smoothed[0], smoothed[1], smoothed[2] = mass, multipliers[...] * inverse, inverse

    @pl.when(jnp.logical_not(forwards))
    def _():
        smooth()
        if not keep:
            ends[chunk] = state[...]
        for band in _bands(state.shape):
            state[band] = sweep_back(band, state[band], store=keep)

    @pl.when(forwards)
    def _():
        if not keep:
            smooth()
        for band in _bands(state.shape):
            if not keep:
                sweep_back(band, ends[chunk, band], store=True)
            state[band] = _forward(kept, arrivals, load, band, state[band], types, unroll)


def _bands(shape):
    """Nodes whose values are `_BAND` registers at most, in bands as even as registers allow."""
    nodes, tile = shape
    registers = -(-nodes // SUBLANES) * -(-tile // LANES)
    band = _blocks.round_up(-(-nodes // -(-registers // _BAND)), SUBLANES)
    return [slice(low, min(low + band, nodes)) for low in range(0, nodes, band)]


def _back(gains, smoothed, kept, left, types, unroll, band, value, *, store):
    """Values `[band, B]` of waiting at the start of the chunk from those at its end; fills `kept [size J, n, B]`."""
    size = kept.shape[0] // types
    over_time = gains.shape[0] > 1

    def one_time(i, value):
        time = size - 1 - i
        there = time if left is None else jnp.minimum(time, left - 1)  # beyond the last time nothing was read

        def one_type(kind, gained):
            row, at = time * types + kind, there * types + kind
            price, inverse = (smoothed[k, pl.ds(at, 1)] for k in (1, 2))
            u = (value - gains[there if over_time else 0, kind, band]) * inverse + price
            u = jnp.minimum(u, _HIGHEST)
            both = 1 + jnp.exp2(u)
            log = jnp.log2(both)
            if store:
                kept[row, band] = 1 / both
            return gained + smoothed[0, pl.ds(row, 1)] * (log - u)

        return value + _over_types(one_type, jnp.zeros_like(value), types)

    return jax.lax.fori_loop(0, size, one_time, value, unroll=unroll if types == 1 else 1)


def _forward(kept, arrivals, load, band, free, types, unroll):
    """Free `[band, B]` at the end of the chunk from that at its start; the band's part of the loads is added."""
    first = band.start == 0

    def one_time(time, free):
        def one_type(kind, spent):
            row = pl.ds(time * types + kind, 1)
            taken = kept[time * types + kind, band] * free
            total = jnp.sum(taken, axis=0, keepdims=True)
            load[row] = total if first else load[row] + total
            return spent + arrivals[row] * taken

        return free - _over_types(one_type, jnp.zeros_like(free), types)

    return jax.lax.fori_loop(0, kept.shape[0] // types, one_time, free, unroll=unroll if types == 1 else 1)


def _over_types(one, init, types):
    if types <= _TYPES_IN_LINE:
        for kind in range(types):
            init = one(kind, init)
        return init
    return jax.lax.fori_loop(0, types, one, init, unroll=_TYPES_IN_LINE)
