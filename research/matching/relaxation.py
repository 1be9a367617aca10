"""LP-OnOpt by `dualscan`: certified bounds on the philosopher, for Bernoulli and typed problems, alone or in batches.

The LP: max <w, x> over x >= 0, sum_i x_it <= p_t, x_it <= p_t (1 - y_it), y_it the mass given to i before t. Relaxing
the column constraint with multipliers lam >= 0 leaves one optimal-stopping problem per offline node, an exact backward
sweep, so that every lam proves an upper bound D(lam); the sweep smoothed at a temperature has a best response x, which
after `repair` is feasible and proves a lower bound. D is minimised by accelerated projected gradient with adaptive
restart while the temperature falls.

A step here is one round: `iterations` gradient iterations at one temperature, then both bounds. Beyond the textbook
scheme, three things cut its iterations to a third or less: the step size follows the curvature met along the path; the
temperature falls as soon as most of the gap is due to it; and the multipliers are then extrapolated along the path of
temperatures.
Source: `braverman:24` for the LP; `nesterov:05` for smoothing, `odonoghue:15` for the restarts, `barzilai:88`
for curvature from two gradients.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.matching import _sweeps, problems
from research.matching.certificates import Certificate, certificate, dual_value, repair, smoothing_bias, waiting_values
from research.matching.problems import Problem

__all__ = [
    "Certificate", "Info", "Params", "Problem", "Result", "Solution", "State", "certificate", "dual_value", "example",
    "init", "repair", "run", "smoothing_bias", "solve", "solve_batch", "step", "value", "waiting_values",
]  # fmt: skip

_SAFETY = 0.8  # step size times measured curvature
_GROWTH = 1.1  # of the step size, at most, per iteration; it may halve
_STEP_SIZES = (0.02, 8.0)  # 1 is the step that the columns' own curvature allows
_SOLVED = 0.5  # share of the gap below which what is unsolved at a temperature is not worth more iterations
_PROGRESS = 0.9  # of what was unsolved, for a round to count


class Params(eqx.Module):
    """`num_steps` rounds of `iterations` gradient iterations at temperatures `temperature * factor^k`, k = 0, 1, ..."""

    num_steps: int = eqx.field(static=True, default=300)
    iterations: int = eqx.field(static=True, default=10)
    patience: int = eqx.field(static=True, default=40)  # rounds without progress at one temperature
    temperature: float = 0.1  # first, in units of the column's largest weight
    factor: float = 0.35  # in (0, 1); 0.5 for tolerances below 1e-5

    def __check_init__(self):
        for name in ("num_steps", "iterations", "patience"):
            checks.at_least(f"Params.{name}", getattr(self, name), 1)
        checks.positive("Params.temperature", self.temperature)
        checks.positive("Params.factor", self.factor)
        if checks.is_concrete(self.factor):
            checks.require(float(self.factor) < 1, "Params.factor", "be < 1", self.factor)


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


class Result(NamedTuple):
    """What `run` returns."""

    x: Float[Array, "n T *J"]  # feasible
    multipliers: Float[Array, "T *J"]
    state: State
    trace: Info
    status: Int[Array, ""]


class Solution(NamedTuple):
    """What `solve` returns; `solve_batch` puts a batch axis in front of everything."""

    x: Float[Array, "n T *J"]  # feasible, worth `primal`
    multipliers: Float[Array, "T *J"]  # lam >= 0, D(lam) = `dual`
    values: Float[Array, "n U"]  # V_it at lam, t = 0..T (`U = T + 1`): bid prices; V_iT = 0
    primal: Float[Array, ""]  # primal <= LP <= dual
    dual: Float[Array, ""]
    gap: Float[Array, ""]  # (dual - primal) / dual; 0 if dual is 0
    rounds: Int[Array, ""]
    status: Int[Array, ""]  # CONVERGED, BUDGET or NONFINITE


def _relative_gap(primal, dual):
    return jnp.where(dual > 0, (dual - primal) / jnp.where(dual > 0, dual, 1), 0)


# --- rounds, on lanes: every leaf of a state has its instances last ------------------------------------------------


def _start(lanes, params):
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


def _total(array):
    return jnp.sum(array, axis=(0, 1))


def _wide(of_lane):
    """`[B]` against `[T, J, B]`."""
    return of_lane[None, None]


def _choose(condition, new, old):
    """Leaves of `new` in the lanes where the condition holds, of `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(_wide(condition) if a.ndim == 3 else condition, a, b), new, old)


def _iterate(lanes, temperature, carry):
    """One accelerated projected gradient step in the metric p/mu, its size by the curvature between two gradients."""
    lam, ahead, momentum, size, last_ahead, last_slack = carry
    arrivals = lanes.arrivals
    slack = jnp.where(arrivals > 0, 1 - _sweeps.load(lanes, ahead, temperature), 0)
    moved, changed = ahead - last_ahead, slack - last_slack
    curved = _total(arrivals * moved * changed)
    measured = (momentum > 1) & (curved > 0)
    curvature = _total(arrivals * temperature * changed * changed) / jnp.where(measured, curved, 1)
    target = _SAFETY / jnp.where(curvature > 0, curvature, _SAFETY / _STEP_SIZES[1])
    size = jnp.where(measured, jnp.clip(jnp.clip(target, size / 2, size * _GROWTH), *_STEP_SIZES), size)

    new = jnp.maximum(ahead - temperature * _wide(size) * slack, 0)
    direction = new - lam
    grown = (1 + jnp.sqrt(1 + 4 * momentum * momentum)) / 2
    restart = _total(arrivals / temperature * (ahead - new) * direction) > 0
    pushed = new + _wide(jnp.where(restart, 0, (momentum - 1) / grown)) * direction
    return new, pushed, jnp.where(restart, 1, grown), size, ahead, slack


def _round(lanes, params, state):
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
    solved = found.unsolved < _SOLVED * (found.dual - found.primal)
    cool = (solved | (stalled >= params.patience)) & (state.temperature * params.factor >= lowest)
    # lam is nearly linear in the temperature: from mu/f over mu to f mu it goes on by f times its last change.
    onwards = jnp.maximum(lam + _wide(state.cooled * params.factor) * (lam - state.settled), 0)
    after = State(
        step=state.step + 1,
        multipliers=_choose(cool, onwards, lam),
        ahead=_choose(cool, onwards, ahead),
        momentum=jnp.where(cool, 1, momentum),
        step_size=size,
        temperature=jnp.where(cool, state.temperature * params.factor, state.temperature),
        unsolved=jnp.where(cool, _unproved(lam), jnp.where(progress, found.unsolved, state.unsolved)),
        stalled=jnp.where(cool, 0, stalled),
        settled=_choose(cool, lam, state.settled),
        cooled=jnp.where(cool, 1, state.cooled),
        primal=jnp.where(better, found.primal, state.primal),
        primal_multipliers=_choose(better, lam, state.primal_multipliers),
        primal_temperature=jnp.where(better, state.temperature, state.primal_temperature),
        dual=jnp.where(tighter, found.dual, state.dual),
        dual_multipliers=_choose(tighter, lam, state.dual_multipliers),
    )
    gap = _relative_gap(after.primal, after.dual)
    return after, Info(found.primal, found.dual, gap, state.temperature, size)


# --- one instance ---------------------------------------------------------------------------------------------------


def _lanes(problem):
    return _sweeps.lanes(problem.weights[None], problem.arrivals[None])


def _to_lanes(problem, state):
    """A state of one instance as a batch of one."""
    return jax.tree.map(lambda x: x[:, None, None] if x.ndim == 1 and not problem.typed else x[..., None], state)


def _from_lanes(problem, tree):
    """Lane 0 of states or infos; Bernoulli multipliers lose their axis of types."""
    return jax.tree.map(lambda x: x[:, 0, 0] if x.ndim == 3 and not problem.typed else x[..., 0], tree)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Multipliers zero, nothing proved yet; the key is not used."""
    del key
    return _from_lanes(problem, _start(_lanes(problem), params))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round: `params.iterations` gradient iterations, both bounds, and the next temperature.

    The temperature falls once less than half of the gap is unsolved at it (`_sweeps.audit`), or after
    `params.patience` rounds none of which lowered that part by a tenth; never below 8 units in the last place of 1,
    where it is lost in rounding.
    """
    return _from_lanes(problem, _round(_lanes(problem), params, _to_lanes(problem, state)))


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` rounds whatever the gap; pass `state` to continue an earlier run exactly where it stopped.

    Raises:
      ValueError: bad input (`problems.validate`); under `jit` only shapes are checked.
    """
    problems.validate(problem)
    state = init(problem, params, key) if state is None else state
    return _run(problem, params, state)


@jax.jit
def _run(problem, params, state):
    lanes = _lanes(problem)
    last, trace = jax.lax.scan(
        lambda carry, _: _round(lanes, params, carry), _to_lanes(problem, state), length=params.num_steps
    )
    x = _allocations(lanes, last)[0]
    last = _from_lanes(problem, last)
    trace = jax.tree.map(lambda leaf: leaf[:, 0], trace)
    x = repair(problem, x if problem.typed else x[..., 0])
    return Result(x, last.dual_multipliers, last, trace, status.of((last, trace)))


def _allocations(lanes, state):
    """The x of the best primal, batch axis first: `[B, n, T, J]`."""
    temperature = _wide(state.primal_temperature) * lanes.scale
    return jnp.transpose(_sweeps.allocate(lanes, state.primal_multipliers, temperature), (3, 2, 0, 1))


# --- until certified ------------------------------------------------------------------------------------------------


def solve(problem: Problem, params: Params | None = None, *, tolerance: float = 1e-4) -> Solution:
    """Rounds until the relative gap (dual - primal) / dual is at most `tolerance`, `params.num_steps` at most.

    The gap is that of the arithmetic at hand, less an allowance for its rounding; `certificate` takes it again in
    float64. In float32 tolerances below about 1e-5 are out of reach.

    Raises:
      ValueError: bad input (`problems.validate`) or a tolerance that is not positive; under `jit` only shapes.
    """
    problems.validate(problem)
    checks.positive("tolerance", tolerance)
    return _solve_one(problem, params or Params(), tolerance)


def solve_batch(batch: Problem, params: Params | None = None, *, tolerance: float = 1e-4) -> Solution:
    """`solve` for problems with one more axis in front, all leaves of the solution alike.

    An instance whose gap is closed is frozen, so that its solution does not depend on how long the others take; the
    loop ends with the slowest. Faster on a CPU than `vmap` of `solve`, whose arithmetic it shares.

    Raises:
      ValueError: as in `solve`, for the first bad instance found.
    """
    problems.validate(batch, batched=True)
    checks.positive("tolerance", tolerance)
    return _solve(batch, params or Params(), tolerance)


@jax.jit
def _solve_one(problem, params, tolerance):
    batch = jax.tree.map(lambda leaf: leaf[None], problem)
    return jax.tree.map(lambda leaf: leaf[0], _solve(batch, params, tolerance))


@jax.jit
def _solve(batch, params, tolerance):
    lanes = _sweeps.lanes(batch.weights, batch.arrivals)
    enough = jnp.maximum(tolerance - 16 * jnp.finfo(lanes.arrivals.dtype).eps, 0)

    def open_(state):
        closed = _relative_gap(state.primal, state.dual) <= enough
        return ~closed & jnp.isfinite(_total(state.multipliers))

    def body(state):
        keep = open_(state)
        after, _ = _round(lanes, params, state)
        return _choose(keep, after, state)

    start = _start(lanes, params)
    last = jax.lax.while_loop(lambda s: jnp.any(open_(s) & (s.step < params.num_steps)), body, start)
    x = _allocations(lanes, last)
    typed = batch.arrivals.ndim == 3
    x = jax.vmap(repair)(batch, x if typed else x[..., 0])
    values = jnp.transpose(_sweeps.values(lanes, last.dual_multipliers), (2, 1, 0))
    multipliers, reached = (jnp.moveaxis(lam, -1, 0) for lam in (last.dual_multipliers, last.multipliers))
    gap = _relative_gap(last.primal, last.dual)
    return Solution(
        x,
        multipliers if typed else multipliers[..., 0],
        values,
        last.primal,
        last.dual,
        gap,
        last.step,
        jax.vmap(status.of)((reached, last.primal, last.dual), gap <= enough),
    )


def value(problem: Problem, params: Params | None = None, *, tolerance: float = 1e-4) -> Float[Array, ""]:
    """The LP's value, from below and within `tolerance`, differentiable in weights and arrivals.

    Gradients are those of the envelope theorem at the approximate optimum, never through the iterations: x for the
    weights, and lam_t + sum_i (1 - y_it) max(0, w_it - lam_t - V_i,t+1) for the arrivals. Where the LP has several
    optima, one of its subgradients. Arguments and errors as in `solve`; parameters have no gradient.
    """
    return _value(problem, params or Params(), tolerance)


@jax.custom_vjp
def _value(problem, params, tolerance):
    return solve(problem, params, tolerance=tolerance).primal


def _value_forward(problem, params, tolerance):
    solution = solve(problem, params, tolerance=tolerance)
    of_time = jnp.sum(solution.x, axis=2) if problem.typed else solution.x
    free, later = 1 - jnp.cumsum(of_time, axis=1) + of_time, solution.values[:, 1:]
    if problem.typed:
        free, later = free[..., None], later[..., None]
    surplus = jnp.maximum(problem.weights - solution.multipliers[None] - later, 0)
    by_arrivals = solution.multipliers + jnp.sum(free * surplus, axis=0)
    stationary = problem.weights.shape[1] != problem.num_steps
    by_weights = jnp.sum(solution.x, axis=1, keepdims=True) if stationary else solution.x
    nothing = jax.tree.map(jnp.zeros_like, (params, tolerance))
    return solution.primal, (Problem(by_weights, by_arrivals), nothing)


def _value_backward(residuals, cotangent):
    gradient, nothing = residuals
    return jax.tree.map(lambda leaf: cotangent * leaf, gradient), *nothing


_value.defvjp(_value_forward, _value_backward)


def example(key: Key) -> tuple[Problem, Params]:
    """Four offline nodes, six times, two rounds of five iterations."""
    return problems.er(key, 0.8, 4, 6), Params(num_steps=4, iterations=5)
