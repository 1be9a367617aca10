"""Softmax-weighted sums of segments on a TPU: one walk over blocks of elements and tiles of segments each way.

Ids do not decrease, so that blocks and tiles meet on a staircase, which the grid walks (`staircase`): a block is read
once and stays for as many steps as it has tiles, and a tile's sums stay on the chip from its first block to its last,
a running softmax. Nothing is gathered or scattered: who is in which segment is a matrix of zeros and ones, made in
registers from ids, and members are added up, or given their segment's numbers, by the matrix unit (`selection`).
Weights of elements (`shared_tpu`) and of channels (`channels_tpu`) have a pair of kernels each. The gradient takes
exp(score - largest), as the value does, since the logarithm of a sum may be too large for the digits that count.

Limits: one weight for each element moves 4 bytes a channel for the value and 8 for its gradient; with 128 channels HBM
takes 960 and 1,920 cycles for 1,024 elements on a v5e, 560 and 1,120 on a v6e. The matrix unit and the rearrangement of
weights take as long again.

The compiler's estimate (libtpu 0.0.42.1; not a measurement), cycles per 1,024 elements of 128 channels, the value and
its gradient, of 8,192 elements; XLA's is the faster of two schedules (`cases`), with 8 elements to a segment on an
eighth of them, where on a v5e it takes a fifth longer than on all. What makes the kernel's steps of the ids takes 500
to 700 more, each way. On a v5p, whose second core the kernel leaves idle, products win while segments are few. XLA's
scatters are not simulated on a tpu7x.

                                         v5e             v5p             v6e           tpu7x
    a weight an element, 64          2,332   3,024   1,988   2,712   1,854   2,326   1,797   2,190
    XLA, products                    4,271   7,066   1,716   2,669   2,079   4,121   2,174   4,172
    a weight an element, 8           5,520   5,069   5,298   4,787   4,992   4,019   4,602   3,684
    XLA, products                   26,612  38,357  12,411  19,059  16,277  28,247  14,723  26,880
    a weight a channel, 64           7,240   4,357   6,904   3,976   5,724   2,831   8,755   2,883
    XLA, scatters and gathers       44,448  26,339  20,840   8,117  38,391  10,929       -       -

Source: as `reference.py`.
"""

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES
from pallas_kernels.segment_softmax_pool import channels_tpu, shared_tpu
from pallas_kernels.segment_softmax_pool.staircase import plan

__all__ = ["backward", "forward", "segment_softmax_pool", "unsupported"]

_MOST_CHANNELS = 1024
_MOST_STEPS = 1 << 15  # whose blocks' numbers are in scalar memory


def unsupported(scores, values, *, num_segments):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    if scores.dtype != "float32":
        return f"scores are {scores.dtype}, the kernel computes in float32"
    if jax.config.jax_enable_x64:
        return "64-bit types are on, and the kernel's loops would be counted in them"
    if scores.ndim == 1 and values is None:
        return "one score for each element without values is left to XLA"
    if scores.ndim == 1 and values.shape[1] > _MOST_CHANNELS:
        return f"D={values.shape[1]} channels with one weight are more than {_MOST_CHANNELS}"
    steps = max(path_of(scores, values, num_segments, back=back).steps for back in (False, True))
    if steps > _MOST_STEPS:
        return f"M={scores.shape[0]} elements in G={num_segments} segments take {steps} steps, more than {_MOST_STEPS}"
    return None


def forward(scores, values, ids, valid, *, num_segments, path=None, interpret=False):
    """Same contract as `xla.forward`; float32 only. `interpret` as in `pl.pallas_call`."""
    path = path or path_of(scores, values, num_segments)
    code, block_of = _code(ids, valid, path), path.block_of(ids)
    options = {"path": path, "num_segments": num_segments, "interpret": interpret}
    if scores.ndim == 2:
        top, total, *pooled = channels_tpu.forward(block_of, code, scores, values, **options)
        return top, total, pooled[0] if pooled else None
    pooled, numbers = shared_tpu.forward(block_of, code, _row(scores, path), values, **options)
    top, total = (numbers[:, n].reshape(-1)[:num_segments] for n in range(2))
    return top, total, pooled


def backward(scores, values, ids, valid, top, pull, lift, *, path=None, interpret=False):
    """Same contract as `xla.backward`."""
    path = path or path_of(scores, values, top.shape[0], back=True)
    code, block_of = _code(ids, valid, path), path.block_of(ids)
    options = {"path": path, "interpret": interpret}
    if scores.ndim == 2:
        of_scores, *of_values = channels_tpu.backward(block_of, code, scores, values, top, pull, lift, **options)
        return of_scores, of_values[0] if of_values else None
    numbers = jnp.pad(jnp.stack([_tiles(top, path), _tiles(lift, path)], axis=1), ((0, 0), (0, 6), (0, 0)))
    of_scores, of_values = shared_tpu.backward(block_of, code, _row(scores, path), values, pull, numbers, **options)
    return of_scores[0, : scores.shape[0]], of_values


def path_of(scores, values, num_segments, *, back=False):
    """The grid's path for these arguments. Blocks hold all channels that share a weight, else 128 at a time."""
    width = values.shape[1] if scores.ndim == 1 else 2 * LANES
    return plan(scores.shape[0], num_segments, width, spreads=back or scores.ndim == 2)


def segment_softmax_pool(*args, **options):
    """The forward pass, under the operation's name."""
    return forward(*args, **options)


def _code(ids, valid, path):
    """Ids and who takes part in one row of numbers, in order to the end of the last block."""
    more = path.blocks * path.rows - ids.shape[0]
    return jnp.pad(2 * ids, (0, more), mode="edge")[None] + jnp.pad(valid.astype(jnp.int32), (0, more))[None]


def _row(numbers, path):
    return _blocks.pad_axis(numbers, 0, path.blocks * path.rows)[None]


def _tiles(numbers, path):
    return _blocks.pad_axis(numbers, 0, path.tiles * path.segments).reshape(path.tiles, path.segments)
