"""What all methods of this family share: strides, oracle calls, residuals, and when to stop.

A step of a method is a *stride* of iterations, then one residual. So a step draws its coins and indices at once, the
loop over iterations has no branch for monitoring, and a run continues at any step. Two counters are kept: calls that
the method makes, which are the horizontal axis of every figure, and those that only look at it.

A method that converged or diverged stands still, bit for bit: on divergence at the last point that was monitored and
fine, so that no lane of a batch holds a NaN. The step counter goes on, since lanes may share it and the coins drawn by
it (`research.halpern.lanes`).
Source: `cai:24` for the accounting.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.core import loops, prng
from research.core import validate as checks
from research.core.status import Status
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern.inclusions import Point

__all__ = [
    "Info", "Ledger", "Result", "anyone", "check_strides", "draw_stride", "open_ledger", "spend", "stride_through",
    "take",
]  # fmt: skip

#: Iterations drawn together. Part of the definition of the draws: changing it changes every number.
DRAWN_TOGETHER = 64
#: A residual this many times the first one is divergence.
DIVERGENCE = 1e3


class Ledger(NamedTuple):
    """What a run has cost, and how it stands."""

    calls: loops.Counter  # component evaluations of the method
    monitor_calls: loops.Counter  # component evaluations of the monitoring alone
    residual: Float[Array, ""]  # when last monitored
    first: Float[Array, ""]  # at the start, what divergence is measured against
    status: Int[Array, ""]  # OK while it runs, CONVERGED or DIVERGED once it stands still


class Info(NamedTuple):
    """After one stride."""

    residual: Float[Array, ""]
    calls: loops.Counter
    status: Int[Array, ""]


class Result(NamedTuple):
    """What every `run` of this family returns."""

    u: Point
    state: Any
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]  # OK without a tolerance; with one CONVERGED or BUDGET; or DIVERGED


def open_ledger(residual: Float[Array, ""], monitor_calls: int) -> Ledger:
    """A run that has cost nothing, with the residual of its start."""
    monitored = loops.count(loops.start_counter(), monitor_calls)
    return Ledger(loops.start_counter(), monitored, residual, residual, jnp.int32(Status.OK))


def spend(ledger: Ledger, calls: int | Int[Array, ""]) -> Ledger:
    """Adds calls of the method, in [0, 2**30]."""
    return ledger._replace(calls=loops.count(ledger.calls, calls))


def check_strides(params: Any) -> None:
    """The fields that all methods have: `num_steps`, `stride`, `tolerance`."""
    checks.at_least("Params.num_steps", params.num_steps, 1)
    checks.at_least("Params.stride", params.stride, 1)
    checks.at_least("Params.tolerance", params.tolerance, 0)


def draw_stride(sampler: Callable[[Key, int], Array], key: Key, step: Int[Array, ""], stride: int) -> Array:
    """Draws `[stride, ...]` of the iterations step * stride, ..., which do not depend on the stride.

    Args:
      sampler: `(key, count) -> [count, ...]`, row i for the i-th iteration of a block.
    """
    if stride % DRAWN_TOGETHER:
        return prng.blocked(sampler, key, step * stride, stride, block=DRAWN_TOGETHER)
    blocks = step * (stride // DRAWN_TOGETHER) + jnp.arange(stride // DRAWN_TOGETHER)
    drawn = jax.vmap(lambda block: sampler(prng.per_step(key, block), DRAWN_TOGETHER))(blocks)
    return drawn.reshape(stride, *drawn.shape[2:])


@jax.custom_batching.custom_vmap
def anyone(going: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether this lane, or under `vmap` any lane, is going.

    One answer for the whole batch: a branch taken on it stays a branch under `vmap`, and so do the branches inside.
    Branching on the lane's own status would turn all of them into selections, which evaluate both sides.
    """
    return going


@anyone.def_vmap
def _anyone_of_lanes(axis_size, in_batched, going):
    del axis_size
    return (anyone(jnp.any(going, axis=0)), False) if in_batched[0] else (anyone(going), False)


def take(
    advance: Callable[[Any], Any], measure: Callable[[Any], Float[Array, ""]], state: Any, tolerance, monitor_calls: int
) -> tuple[Any, Info]:
    """One step of a method: a stride of iterations, a residual, a decision.

    Args:
      advance: the state after a stride of iterations; `state.step` must stay as it is.
      measure: the residual of a state.
      state: a NamedTuple with `step` and `ledger`.
      tolerance: a residual to stop at; 0: never.
      monitor_calls: what `measure` costs.
    """

    def go(state):
        after = advance(state)
        residual = measure(after)
        ledger = after.ledger
        ledger = ledger._replace(monitor_calls=loops.count(ledger.monitor_calls, monitor_calls))
        fine = residual <= DIVERGENCE * jnp.maximum(ledger.first, jnp.finfo(residual.dtype).eps)  # False for NaN
        done = fine & (residual <= tolerance) & (tolerance > 0)
        status = jnp.where(fine, jnp.where(done, Status.CONVERGED, Status.OK), Status.DIVERGED).astype(jnp.int32)
        # What a stride left alone stays out of the selection: lanes may share it, as they do the key of the coins.
        moved = jax.tree.map(lambda new, old: new if new is old else jnp.where(fine, new, old), after, state)
        # What was spent is spent, also by a stride that diverged.
        held = jnp.where(fine, residual, state.ledger.residual)
        moved = moved._replace(ledger=ledger._replace(residual=held, status=status))
        going = state.ledger.status == Status.OK  # in a batch this lane may have stopped before others
        return jax.tree.map(lambda new, old: new if new is old else jnp.where(going, new, old), moved, state)

    after = jax.lax.cond(anyone(state.ledger.status == Status.OK), go, lambda state: state, state)
    after = after._replace(step=state.step + 1)
    return after, Info(after.ledger.residual, after.ledger.calls, after.ledger.status)


def stride_through(step: Callable, problem: Any, params: Any, state: Any, point: Callable[[Any], Point]) -> Result:
    """`num_steps` steps of a method from a state."""
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    status = state.ledger.status
    unmet = (status == Status.OK) & (jnp.asarray(params.tolerance) > 0)
    return Result(point(state), state, trace, jnp.where(unmet, Status.BUDGET, status).astype(jnp.int32))
