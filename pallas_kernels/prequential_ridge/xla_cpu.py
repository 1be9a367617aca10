"""Blocked prequential ridge for one CPU core: a few programs side by side, padding skipped, no library factorisation.

Same algebra as `xla.py`; what differs is measured choice (`tuned/prequential_ridge.json`):

* Programs are lanes. A few of them advance together, which shares the fixed cost of every XLA operation; a lane whose
  program is finished takes the next longest one. Blocks of padding only are never visited, so the work is the number of
  blocks with a row in them times `B d^2`, and no lane waits for the longest program.
* The factorisation is elimination without pivoting, vectorised over lanes and columns, that leaves the inverse of the
  unit triangular factor in place, in two halves of the rows. LAPACK's calls on 32 x 32 matrices take twice the time.
* Both sides of a product contract their last axis. XLA hands those products to its fast small-matrix routines; `U' U`
  with the leading axes contracted it does not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels.prequential_ridge.output import Output

__all__ = ["lanes"]

_ALIGNMENT = 16  # floats in an AVX-512 register


class _Schedule(NamedTuple):
    """`W` lanes, `P` programs."""

    program: jax.Array  # [W] the program of each lane
    left: jax.Array  # [W] blocks it still has to visit; 0 = idle
    queued: jax.Array  # [] programs handed out so far


def lanes(features, labels, rows, factor, weights, *, block_size, programs):
    """Same contract as `api.prequential_ridge`; at most `programs` programs are in flight at a time."""
    num_programs, length = rows.shape
    width = min(programs, num_programs)
    rows = _blocks.pad_axis(rows, 1, _blocks.round_up(length, block_size), -1)
    num_rows, dim = features.shape
    # Zero columns fill whole vector registers; padding reads one more row, of zeros.
    aligned = _blocks.round_up(dim, _ALIGNMENT)
    features = jnp.zeros((num_rows + 1, aligned), features.dtype).at[:num_rows, :dim].set(features)
    labels = _blocks.pad_axis(labels, 0, num_rows + 1)
    factor = _blocks.pad_axis(_blocks.pad_axis(factor, 1, aligned), 2, aligned)
    weights = _blocks.pad_axis(weights, 1, aligned)
    blocks = rows.reshape(num_programs, -1, block_size)
    num_blocks = blocks.shape[1]
    occupied = jnp.any(blocks >= 0, axis=2)
    # Occupied blocks first, in order. A scatter: sorting took 1.3 of 92 ms on the synthetic workload.
    place = jnp.where(occupied, jnp.cumsum(occupied, axis=1) - 1, num_blocks)
    order = jnp.arange(num_blocks, dtype=jnp.int32)
    visits = jax.vmap(lambda to: jnp.zeros_like(order).at[to].set(order, mode="drop"))(place)
    todo = jnp.sum(occupied, axis=1, dtype=jnp.int32)
    longest_first = jnp.argsort(-todo, stable=True).astype(jnp.int32)

    def until_a_lane_is_free(carry):
        schedule, state, finals, traces = carry
        steps = jnp.min(jnp.where(schedule.left > 0, schedule.left, num_blocks))
        # An idle lane reads padding, and what it writes is dropped.
        program = jnp.where(schedule.left > 0, schedule.program, num_programs)
        done = todo[schedule.program] - schedule.left

        def body(i, carry):
            state, traces = carry
            visit = visits[schedule.program, jnp.minimum(done + i, num_blocks - 1)]
            block = blocks.at[program, visit].get(mode="fill", fill_value=-1)
            block = jnp.where(block < 0, num_rows, block)
            x, y = (table.at[block].get(mode="promise_in_bounds") for table in (features, labels))
            state, seen = _learn(*state, x, y)
            return state, tuple(t.at[program, visit].set(s, mode="drop") for t, s in zip(traces, seen, strict=True))

        state, traces = jax.lax.fori_loop(0, steps, body, (state, traces))
        finals = tuple(f.at[schedule.program].set(s) for f, s in zip(finals, state, strict=True))
        schedule, changed = _refill(schedule, steps, longest_first, todo)
        state = tuple(
            jnp.where(changed.reshape((-1,) + (1,) * (s.ndim - 1)), f[schedule.program], s)
            for f, s in zip(finals, state, strict=True)
        )
        return schedule, state, finals, traces

    first = longest_first[:width]
    schedule = _Schedule(program=first, left=todo[first], queued=jnp.int32(width))
    traces = jnp.zeros(blocks.shape, features.dtype), jnp.ones(blocks.shape, features.dtype)
    _, _, (factor, weights), traces = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].left > 0),
        until_a_lane_is_free,
        (schedule, (factor[first], weights[first]), (factor, weights), traces),
    )
    residual, pivot = (trace.reshape(num_programs, -1)[:, :length] for trace in traces)
    return Output(residual, pivot, factor[:, :dim, :dim], weights[:, :dim])


def _refill(schedule, steps, longest_first, todo):
    """The schedule after `steps` steps, lanes that became free holding the next programs, and which lanes those are."""
    free = schedule.left == steps
    slot = schedule.queued + jnp.cumsum(free, dtype=jnp.int32) - 1
    changed = free & (slot < len(todo))
    program = jnp.where(changed, longest_first[jnp.minimum(slot, len(todo) - 1)], schedule.program)
    schedule = _Schedule(
        program=program,
        left=jnp.where(changed, todo[program], jnp.maximum(schedule.left - steps, 0)),
        queued=schedule.queued + jnp.sum(changed, dtype=jnp.int32),
    )
    return schedule, changed


def _learn(factor, weights, x, y):
    """One block per lane: `factor [W, d, d]`, `weights [W, d]`, `x [W, B, d]`, `y [W, B]`."""
    residual = y - _contract(x, weights, 1)
    gain = _contract(factor, x, 2)  # [W, d, B]
    gram = jnp.eye(x.shape[1], dtype=x.dtype)[None] + _contract(x, gain, 1)
    inverse, pivot = _inverse_triangular(gram)
    scale = jnp.sqrt(pivot)
    inverse = inverse / scale[..., None]
    innovation = _contract(inverse, residual, 1)
    update = _contract(gain, inverse, 2)  # [W, d, B]
    state = factor - _contract(update, update, 2), weights + _contract(update, innovation, 1)
    return state, (scale * innovation, pivot)


def _contract(a, b, axis):
    """`a`'s last axis with axis `axis` of `b`, lane by lane."""
    return jax.lax.dot_general(a, b, (((a.ndim - 1,), (axis,)), ((0,), (0,))), precision=jax.lax.Precision.HIGHEST)


def _inverse_triangular(gram):
    """`L^-1` and `D` of `gram = L D L'` (`[W, B, B]`, L unit lower triangular): the upper rows, then the lower ones.

    The upper rows hold `[L11^-1, L11^-1 G12]` after their elimination. One product eliminates their columns from the
    lower rows, which become `[-L21 L11^-1, S]`, S the Schur complement, and are eliminated in turn, over all columns,
    into the lower rows of the inverse. Half the elementwise work of one pass over `[W, B, B]`.
    """
    size = gram.shape[-1]
    half = size // 2
    index = jnp.arange(size)
    left = (index < half)[None, None]
    below = (index[:, None] > index[None])[None]
    unit = jnp.eye(size, dtype=gram.dtype)[None]

    upper = _eliminate(gram[:, :half], 0)
    # A gather; the masked sum over [B, B] instead took 2 us more per block of 32.
    pivot = jnp.diagonal(upper, axis1=1, axis2=2)
    multiplier = (upper[:, :, half:] / pivot[..., None]).swapaxes(1, 2)
    solved = jnp.where(left & ~below[:, :half], unit[:, :half], upper)
    lower = _eliminate(jnp.where(left, 0, gram[:, half:]) - _contract(multiplier, solved, 1), half)
    pivot = jnp.concatenate([pivot, jnp.diagonal(lower, half, axis1=1, axis2=2)], axis=1)
    return jnp.where(below, jnp.concatenate([upper, lower], axis=1), unit), pivot


def _eliminate(rows, first):
    """Elimination in place among `rows [W, H, B]`, the pivot of row k being in column `first + k`.

    After step k, that column below the pivot holds column k of the inverse accumulated so far, and rows above k are
    final.
    """
    _, height, size = rows.shape

    def step(k, a):
        row = jax.lax.dynamic_slice_in_dim(a, k, 1, axis=1)
        column = jax.lax.dynamic_slice_in_dim(a, first + k, 1, axis=2)
        reciprocal = 1 / jax.lax.dynamic_slice_in_dim(row, first + k, 1, axis=2)
        # The pivot's column becomes -a_ik / a_kk, the entry of the inverse. Its old content is dropped rather than
        # cancelled: a_ik - a_ik (1 + 1 / a_kk) would lose digits in proportion to the pivot, in float32 all of them.
        pivotal = (jnp.arange(size) == first + k)[None, None]
        below = (jnp.arange(height) > k)[None, :, None]
        multiplier = jnp.where(pivotal, 1, row) * reciprocal
        return jnp.where(below & pivotal, 0, a) - jnp.where(below, column, 0) * multiplier

    return jax.lax.fori_loop(0, height, step, rows)
