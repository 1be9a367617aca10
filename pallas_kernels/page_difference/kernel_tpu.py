"""The batch on a TPU: rows come to the chip by one copy each, all of them under way at once, and are read once.

What limits it is the start of copies, one for each row, some 9 cycles each. A row takes 512 bytes of HBM however few
its numbers are; a batch of 447 is there in 420 cycles of a v5e, and the latency of a copy is waited for once and not
447 times. A gather of single numbers costs as much as one of rows, so targets and weights ride in their rows, behind
the D numbers. Half of the batch is worked on while the other half is under way.

The compiler's estimate (libtpu 0.0.42.1; not a measurement), cycles per batch of 447 of 200,000 rows, the kernel alone
beside XLA's schedule of `xla.py`: two gathers, the rows' and the weights' or targets', and two or three products. On
tpu7x the gathers are by the compiler's quick model and may be less.

                     v5e       v5p       v6e     tpu7x
    linear         6,261     4,740     4,694     4,746
    XLA           31,430    18,110    11,010    78,800
    logistic       6,497     5,165     5,102     5,075
    XLA           34,320    20,820    12,270    84,900

Were targets and weights taken from the rows, XLA would take some 6,500 on a v6e.

Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES

__all__ = ["cost", "page_difference", "stream", "unsupported"]

_HALVES = 2
_MOST_TOGETHER = 56  # rows worked on at once, so that their reductions hide each other's latency
_MOST_BATCH = 8192
_MOST_BYTES = 8 << 20  # of the batch, of 16 MiB
_TARGET, _WEIGHT = range(2)  # places behind the D numbers of a row


def unsupported(rows, targets, weight, index, new, old):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del targets, weight, old
    if rows.dtype != "float32":
        return f"rows are {rows.dtype}, the kernel computes in float32"
    if rows.shape[1] < new.shape[0] + 2:
        return f"rows of {rows.shape[1]} numbers have no room for target and weight behind {new.shape[0]}"
    if index.shape[0] > _MOST_BATCH or 4 * index.shape[0] * _blocks.round_up(rows.shape[1], LANES) > _MOST_BYTES:
        return f"a batch of {index.shape[0]} rows of {rows.shape[1]} does not fit the chip"
    return None


def _together(batch):
    return min(_MOST_TOGETHER, _blocks.round_up(-(-batch // _HALVES), SUBLANES))


def cost(batch, width):
    """Operations and bytes of one call, for the compiler's scheduler."""
    return pl.CostEstimate(flops=6 * batch * width, transcendentals=0, bytes_accessed=4 * batch * width)


def page_difference(rows, targets, weight, index, new, old, *, link, interpret=False):
    """Same contract as `api.page_difference`; float32 only."""
    del targets
    size, width = new.shape[0], rows.shape[1]
    points = jnp.stack([new - old] if link is None else [new, old])
    points = _blocks.pad_axis(points, 1, width)
    batch = index.shape[0]
    index = _blocks.pad_axis(index.astype(jnp.int32), 0, _blocks.round_up(batch, _HALVES * _together(batch)))
    arguments = {"batch": batch, "size": size, "link": link, "weighted": weight is not None}
    return stream(index, points, rows, **arguments, interpret=interpret)[0, :size]


def stream(index, points, rows, *, batch, size, link, weighted, interpret=False):
    """The kernel itself.

    Args:
      index: `[B]` int32 in [0, n), filled up to whole blocks of rows in either half.
      points: `[2, W]` new and old, or `[1, W]` the move if `link` is None; zeros behind the D numbers.
      rows: `[n, W]`.
      batch: b <= B; the rest does not count.
      size: D.
      weighted: whether rows count with their weights.

    Returns:
      `[1, W]`, of which the first D numbers count.
    """
    width = rows.shape[1]
    return pl.pallas_call(
        functools.partial(_kernel, batch=batch, size=size, link=link, weighted=weighted),
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            pl.BlockSpec(memory_space=pltpu.VMEM),
            pl.BlockSpec(memory_space=pl.ANY),
        ],
        out_specs=pl.BlockSpec(memory_space=pltpu.VMEM),
        out_shape=jax.ShapeDtypeStruct((1, width), jnp.float32, manual_axis_type=jax.typeof(rows).manual_axis_type),
        scratch_shapes=[
            pltpu.VMEM((index.shape[0], width), jnp.float32),
            pltpu.SemaphoreType.DMA((_HALVES,)),
        ],
        compiler_params=pltpu.CompilerParams(disable_bounds_checks=True),
        cost_estimate=cost(batch, width),
        interpret=interpret,
        name="page_difference",
    )(index, points, rows)


def _kernel(index, points, rows, total, drawn, arrived, *, batch, size, link, weighted):
    count, width = drawn.shape
    half, together = count // _HALVES, _together(batch)
    lane = jax.lax.broadcasted_iota(jnp.int32, (together, width), 1)
    place = jax.lax.broadcasted_iota(jnp.int32, (together, 1), 0)

    def start(part):
        def issue(k, _):
            for j in range(SUBLANES):
                at = part * half + k * SUBLANES + j
                pltpu.make_async_copy(rows.at[pl.ds(index[at], 1)], drawn.at[pl.ds(at, 1)], arrived.at[part]).start()
            return 0

        jax.lax.fori_loop(0, half // SUBLANES, issue, 0)

    def add(k, total):
        first = pl.multiple_of(k * together, together)
        x = drawn[pl.ds(first, together)]

        def entry(of):
            return jnp.sum(jnp.where(lane == size + of, x, 0), axis=1, keepdims=True)

        margins = [jnp.sum(x * points[pl.ds(p, 1)], axis=1, keepdims=True) for p in range(points.shape[0])]
        if link is None:
            pull = margins[0]
        else:
            target = entry(_TARGET)
            pull = link(margins[0], target) - link(margins[1], target)
        if weighted:
            pull = pull * entry(_WEIGHT)
        terms = jnp.where(first + place < batch, pull, 0) * x
        return total + jnp.sum(terms.reshape(-1, SUBLANES, width), axis=0)

    for part in range(_HALVES):
        start(part)
    found = jnp.zeros((SUBLANES, width), jnp.float32)
    for part in range(_HALVES):
        # A semaphore counts bytes: one wait for all the copies of a half.
        own = drawn.at[pl.ds(part * half, half)]
        pltpu.make_async_copy(own, own, arrived.at[part]).wait()
        steps = half // together
        found = jax.lax.fori_loop(part * steps, (part + 1) * steps, add, found)
    total[...] = jnp.sum(found, axis=0, keepdims=True)
