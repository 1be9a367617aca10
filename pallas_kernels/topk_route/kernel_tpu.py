"""Routing on a TPU: rounds of maxima down columns of experts, 128 tokens side by side, everything in registers.

A strip of 128 tokens is transposed on the chip, so that its experts lie in E / 8 registers of eight experts by 128
tokens. A round takes the largest biased score of each column, the first expert that has it, and that expert's score
without bias, and strikes the entry out: nine vector operations a register, with nothing to sort and nothing to gather.
What is struck out after the last round is what the strip adds to the loads, which stay on the chip over the whole grid.

Limits: 4 bytes of HBM a score, 9 k vector operations for 1,024 scores. The vector unit is the wall, and before it
stands the chain of a round's reductions over eight rows, which several strips side by side would hide: strips of 64
registers take a quarter less time for 64 experts, and four times as long to simulate. XLA sorts rows, then gathers.

The compiler's estimate (libtpu 0.0.42.1; not a measurement), cycles per 1,024 tokens and 8 of E experts; XLA's of 256
and of 128 tokens at a time.

                     v5e       v5p       v6e     tpu7x
    64 experts     5,694     6,811     4,473     4,583
    XLA           30,154   159,288   152,320    47,539
    256 experts   12,906    11,228    10,779     9,644
    XLA          522,400   344,204   226,246   244,646

-inf marks what is struck out, so that scores of -inf enter as the least finite number, and leave as they came.

Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES

__all__ = ["cost", "stream", "topk_route", "unsupported"]

_LEAST = float(jnp.finfo(jnp.float32).min)
_TOKENS = 1024  # of a grid step
_REGISTERS = 16  # of a strip's scores, so that a round's chain of reductions has company
_MOST_ROUNDS = 32
_MOST_EXPERTS = 1024


def unsupported(scores, bias, valid, *, rounds):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del bias, valid
    if scores.dtype != "float32":
        return f"scores are {scores.dtype}, the kernel computes in float32"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    if scores.shape[1] > _MOST_EXPERTS:
        return f"E={scores.shape[1]} experts are more than {_MOST_EXPERTS}"
    if rounds > _MOST_ROUNDS:
        return f"{rounds} largest scores of each token are more than {_MOST_ROUNDS}"
    return None


def cost(tokens, num_experts, rounds):
    """Operations and bytes of one call, for the compiler's scheduler."""
    return pl.CostEstimate(
        flops=9 * rounds * tokens * num_experts,
        transcendentals=0,
        bytes_accessed=4 * tokens * (num_experts + 2 * rounds),
    )


def topk_route(scores, bias, valid, *, k, threshold, interpret=False):
    """Same contract as `api.topk_route`, as a tuple; float32 only. `interpret` as in `pl.pallas_call`."""
    num_experts = scores.shape[1]
    width = _blocks.round_up(num_experts, SUBLANES)
    scores = _blocks.pad_axis(scores, 1, width, -jnp.inf)  # behind all experts, so that none of these is ever taken
    bias = jnp.broadcast_to(_blocks.pad_axis(bias, 0, width)[:, None], (width, LANES))
    index, chosen, beyond, load = stream(
        scores, bias, valid.astype(jnp.int32)[None], k=k, threshold=threshold, num_experts=num_experts,
        interpret=interpret,
    )  # fmt: skip
    load = jnp.sum(load, axis=1)[:num_experts]
    return index[:k].T, chosen[:k].T, load, beyond[0] if threshold else None


def stream(scores, bias, valid, *, k, threshold, num_experts, interpret=False):
    """The kernel itself.

    Args:
      scores: `[T, W]`, W the number of experts, rounded up to whole registers with -inf.
      bias: `[W, 128]`, the same in every column.
      valid: `[1, T]` int32.

    Returns:
      Experts and their scores, `[R, T]` with R = k rounded up to whole registers, of which the first k rows count; the
      (k+1)-th largest biased score, `[1, T]`; and tokens per expert, `[W, 128]`, to be summed over columns.
    """
    tokens, width = scores.shape
    rows = _blocks.round_up(k, SUBLANES)
    size = min(_TOKENS, _blocks.round_up(tokens, LANES))
    across = _across(size, width)
    column = lambda step: (0, step)  # noqa: E731
    whole = pl.BlockSpec((width, LANES), lambda step: (0, 0))
    vary = jax.typeof(scores).manual_axis_type
    shape = functools.partial(jax.ShapeDtypeStruct, manual_axis_type=vary)
    return pl.pallas_call(
        functools.partial(_kernel, tokens=tokens, k=k, threshold=threshold, num_experts=num_experts, across=across),
        grid=(-(-tokens // size),),
        in_specs=[pl.BlockSpec((size, width), lambda step: (step, 0)), whole, pl.BlockSpec((1, size), column)],
        out_specs=[
            pl.BlockSpec((rows, size), column),
            pl.BlockSpec((rows, size), column),
            pl.BlockSpec((1, size), column),
            whole,
        ],
        out_shape=[
            shape((rows, tokens), jnp.int32),
            shape((rows, tokens), jnp.float32),
            shape((1, tokens), jnp.float32),
            shape((width, LANES), jnp.int32),
        ],
        # The loads are added up over the grid.
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
        cost_estimate=cost(tokens, width, k + threshold),
        interpret=interpret,
        name="topk_route",
    )(scores, bias, valid)


def _across(size, width):
    """Tokens of a strip: whole registers that divide a grid step."""
    most = max(1, _REGISTERS * SUBLANES // width)
    return LANES * max(n for n in range(1, most + 1) if size // LANES % n == 0)


def _kernel(scores, bias, valid, index, chosen, beyond, load, *, tokens, k, threshold, num_experts, across):
    size, width = scores.shape
    first = pl.program_id(0) * size
    # As numbers with a point, of which the vector unit takes the smaller in one operation.
    expert = jax.lax.broadcasted_iota(jnp.int32, (width, across), 0).astype(jnp.float32)
    lane = jax.lax.broadcasted_iota(jnp.int32, (1, across), 1)
    columns = jnp.concatenate([bias[...]] * (across // LANES), axis=1)

    @pl.when(pl.program_id(0) == 0)
    def _():
        load[...] = jnp.zeros_like(load)

    def strip(number, _):
        at = pl.ds(pl.multiple_of(number * across, LANES), across)
        raw = scores[at, :].T
        key = jnp.maximum(raw + columns, _LEAST)
        # Beyond the last token there is anything.
        counts = (valid[:, at] != 0) & (first + number * across + lane < tokens)
        experts, values = [], []
        for _ in range(k):
            best = jnp.max(key, axis=0, keepdims=True)
            name = jnp.min(jnp.where(key == best, expert, float(width)), axis=0, keepdims=True)
            taken = expert == name
            values.append(jnp.max(jnp.where(taken, raw, -jnp.inf), axis=0, keepdims=True))
            experts.append(name)
            key = jnp.where(taken, -jnp.inf, key)
        if threshold:
            best = jnp.max(key, axis=0, keepdims=True)
            beyond[:, at] = jnp.where(best == _LEAST, -jnp.inf, best)
        else:
            beyond[:, at] = jnp.zeros((1, across), jnp.float32)
        for row, (name, value) in enumerate(zip(experts, values, strict=True)):
            index[pl.ds(row, 1), at] = jnp.where(counts, name.astype(jnp.int32), num_experts)
            chosen[pl.ds(row, 1), at] = jnp.where(counts, value, 0)
        struck = jnp.where((key == -jnp.inf) & counts, 1, 0)
        load[...] += sum(struck[:, n * LANES : (n + 1) * LANES] for n in range(across // LANES))
        return 0

    jax.lax.fori_loop(0, size // across, strip, 0)
