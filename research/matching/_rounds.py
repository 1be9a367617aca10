"""One round of `relaxation`'s minimisation, for lanes of instances: gradient iterations, both bounds, the temperature.

Every leaf of a state has its instances last, as the arrays of `_sweeps` have. Three things beyond the textbook's
accelerated projected gradient with adaptive restart cut its iterations to a third or less: the step size follows the
curvature met along the path; the temperature falls as soon as most of the gap is due to it; and the multipliers are
then extrapolated along the path of temperatures.
Source: `nesterov:05` for smoothing, `odonoghue:15` for the restarts, `barzilai:88` for curvature from two gradients.

Letters: `T` times, `J` types, `n` offline nodes, `B` instances.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core.types import Array, Float, Int
from research.matching import _sweeps

__all__ = ["Info", "State", "allocations", "choose", "one_round", "relative_gap", "start", "total"]

_SAFETY = 0.8  # step size times measured curvature
_GROWTH = 1.1  # of the step size, at most, per iteration; it may halve
_STEP_SIZES = (0.02, 8.0)  # 1 is the step that the columns' own curvature allows
_PROGRESS = 0.9  # of what was unsolved, for a round to count


class State(NamedTuple):
    """Where the minimisation is, and the best that it has proved."""

    step: Int[Array, ""]
    multipliers: Float[Array, "T *J"]  # lam, the iterate
    ahead: Float[Array, "T *J"]  # z, where the next gradient is taken
    momentum: Float[Array, ""]  # theta; 1 after a restart
    step_size: Float[Array, ""]
    temperature: Float[Array, ""]
    unsolved: Float[Array, ""]  # the least gap at this temperature that is not due to it
    stalled: Int[Array, ""]  # rounds since that last fell by a tenth
    settled: Float[Array, "T *J"]  # lam where the temperature last fell
    cooled: Float[Array, ""]  # 1 if it ever fell, else 0
    primal: Float[Array, ""]  # best so far (-1: none), with the multipliers and the temperature that give it
    primal_multipliers: Float[Array, "T *J"]
    primal_temperature: Float[Array, ""]
    dual: Float[Array, ""]  # best so far (largest float: none), with the multipliers that give it
    dual_multipliers: Float[Array, "T *J"]


class Info(NamedTuple):
    """Bounds of one round's last iterate (not the best so far), and how the round ran."""

    primal: Float[Array, ""]
    dual: Float[Array, ""]
    gap: Float[Array, ""]  # of the best so far, relative to the dual
    temperature: Float[Array, ""]
    step_size: Float[Array, ""]


def relative_gap(primal, dual):
    """(dual - primal) / dual; 0 if the dual is 0."""
    return jnp.where(dual > 0, (dual - primal) / jnp.where(dual > 0, dual, 1), 0)


def start(lanes, params):
    """Multipliers zero, nothing proved yet."""
    zeros = jnp.zeros_like(lanes.arrivals)
    ones = jnp.ones(zeros.shape[-1:], zeros.dtype)
    count = jnp.zeros(ones.shape, jnp.int32)
    first = jnp.full_like(ones, params.temperature)
    unproved = jnp.full_like(ones, _unproved(ones))
    return State(
        step=count, multipliers=zeros, ahead=zeros, momentum=ones, step_size=ones, temperature=first, unsolved=unproved,
        stalled=count, settled=zeros, cooled=0 * ones, primal=-ones, primal_multipliers=zeros, primal_temperature=first,
        dual=unproved, dual_multipliers=zeros,
    )  # fmt: skip


def _unproved(array):
    return jnp.finfo(array.dtype).max


def total(array):
    """`[T, J, B]` added up in every lane."""
    return jnp.sum(array, axis=(0, 1))


def _wide(of_lane):
    """`[B]` against `[T, J, B]`."""
    return of_lane[None, None]


def choose(condition, new, old):
    """Leaves of `new` in the lanes where the condition holds, of `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(_wide(condition) if a.ndim == 3 else condition, a, b), new, old)


def _iterate(lanes, temperature, carry):
    """One accelerated projected gradient step in the metric p/mu, its size by the curvature between two gradients."""
    lam, ahead, momentum, size, last_ahead, last_slack = carry
    arrivals = lanes.arrivals
    slack = jnp.where(arrivals > 0, 1 - _sweeps.load(lanes, ahead, temperature), 0)
    moved, changed = ahead - last_ahead, slack - last_slack
    curved = total(arrivals * moved * changed)
    measured = (momentum > 1) & (curved > 0)
    curvature = total(arrivals * temperature * changed * changed) / jnp.where(measured, curved, 1)
    target = _SAFETY / jnp.where(curvature > 0, curvature, _SAFETY / _STEP_SIZES[1])
    size = jnp.where(measured, jnp.clip(jnp.clip(target, size / 2, size * _GROWTH), *_STEP_SIZES), size)

    new = jnp.maximum(ahead - temperature * _wide(size) * slack, 0)
    direction = new - lam
    grown = (1 + jnp.sqrt(1 + 4 * momentum * momentum)) / 2
    restart = total(arrivals / temperature * (ahead - new) * direction) > 0
    pushed = new + _wide(jnp.where(restart, 0, (momentum - 1) / grown)) * direction
    return new, pushed, jnp.where(restart, 1, grown), size, ahead, slack


def one_round(lanes, params, state):
    """`relaxation.step` for lanes: the state after it, and an `Info` of `[B]`."""
    temperature = _wide(state.temperature) * lanes.scale
    lam, ahead, momentum, size, _, _ = jax.lax.fori_loop(
        0,
        params.iterations,
        lambda _, carry: _iterate(lanes, temperature, carry),
        (state.multipliers, state.ahead, state.momentum, state.step_size, state.ahead, jnp.zeros_like(state.ahead)),
    )
    found = _sweeps.audit(lanes, lam, temperature)
    better, tighter = found.primal > state.primal, found.dual < state.dual

    progress = found.unsolved < _PROGRESS * state.unsolved
    stalled = jnp.where(progress, 0, state.stalled + 1)
    lowest = 8 * jnp.finfo(lam.dtype).eps
    solved = found.unsolved < params.solved * (found.dual - found.primal)
    cool = (solved | (stalled >= params.patience)) & (state.temperature * params.factor >= lowest)
    # lam is nearly linear in the temperature: from mu/f over mu to f mu it goes on by f times its last change.
    onwards = jnp.maximum(lam + _wide(state.cooled * params.factor) * (lam - state.settled), 0)
    after = State(
        step=state.step + 1,
        multipliers=choose(cool, onwards, lam),
        ahead=choose(cool, onwards, ahead),
        momentum=jnp.where(cool, 1, momentum),
        step_size=size,
        temperature=jnp.where(cool, state.temperature * params.factor, state.temperature),
        unsolved=jnp.where(cool, _unproved(lam), jnp.where(progress, found.unsolved, state.unsolved)),
        stalled=jnp.where(cool, 0, stalled),
        settled=choose(cool, lam, state.settled),
        cooled=jnp.where(cool, 1, state.cooled),
        primal=jnp.where(better, found.primal, state.primal),
        primal_multipliers=choose(better, lam, state.primal_multipliers),
        primal_temperature=jnp.where(better, state.temperature, state.primal_temperature),
        dual=jnp.where(tighter, found.dual, state.dual),
        dual_multipliers=choose(tighter, lam, state.dual_multipliers),
    )
    gap = relative_gap(after.primal, after.dual)
    return after, Info(found.primal, found.dual, gap, state.temperature, size)


def allocations(lanes, state):
    """The x of the best primal, batch axis first: `[B, n, T, J]`."""
    temperature = _wide(state.primal_temperature) * lanes.scale
    return jnp.transpose(_sweeps.allocate(lanes, state.primal_multipliers, temperature), (3, 2, 0, 1))
