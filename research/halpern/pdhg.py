"""Reflected, restarted Halpern iteration on the primal-dual hybrid gradient map of a linear program.

T(x, y) takes a projected step in x with A'y and one in y with A(2 x+ - x); it is firmly nonexpansive in the norm
|(dx, dy)|_P^2 = |dx|^2 / tau - 2 dy'A dx + |dy|^2 / sigma, so that Halpern's iteration, also on 2T - I, drives the
distance |z - T z|_P to zero like 1/k; restarted when that distance has fallen enough, it converges linearly. At a
restart the primal weight omega = sqrt(sigma / tau) follows how far x and y have moved, |dy| / |dx|, by
`Params.smoothing` in the logarithm. That rule has no guarantee, and on some programs omega swings between 0.01 and 500;
holding it back (a limit on its change, on omega itself, or steps that shrink) solves fewer of them, not more.

Departure: restarts at 0.1, 0.6 and 0.2 with a smoothing of 0.7, where `lu:24`'s rule is most often run at 0.2, 0.8,
0.36 and 0.5. Median and largest iterations to 1e-8 on 20 instances (`experiments.halpern.lp`): b-matchings of 4 x 8,
20 x 60 and 50 x 200, 55 (70), 110 (160) and 180 (240); packing 60 x 300, 13,750 (55,000); LP-OnOpt of 8 x 20, 2,500
(11,300). Medians with the usual constants were 65, 135, 210, 14,250 and 2,800, and one or two of the 20 LP-OnOpt
instances took more than 20,000; the tail of packing was shorter, 46,000.

A product with A and one with A' are all that an iteration costs: A x and A'y are carried along with x and y, and
everything else that is asked about them, the P-norm and the residuals of optimality, is linear in what is carried.
Reported is T z, which satisfies the bounds, never z. Residual: relative KKT (`linear_programs.kkt`).
Source: `applegate:21` for PDHG on linear programs, `lu:24` for Halpern's anchor, the reflection and the rule of
restarts, `lieder:21` for the rate.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import validate as checks
from research.core.status import Status
from research.core.types import Array, Float, Int, Key
from research.halpern import linear_programs, monitoring
from research.halpern.inclusions import Point, Problem
from research.halpern.linear_programs import LinearProgram
from research.halpern.monitoring import Info, Result

__all__ = [
    "Info", "Lifted", "Params", "Problem", "Result", "Solution", "State", "certified_step", "distance", "example",
    "init", "lift", "move", "run", "solve", "step", "validate",
]  # fmt: skip

_RELATIVE_STEP = 0.99
_MOVED = 1e-12  # the primal weight stays where x or y moved less


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides
    stride: int = eqx.field(static=True, default=10)  # iterations between two residuals
    step_size: float | Float[Array, ""] | None = None  # eta = sqrt(tau sigma) < 1 / |A|; None: 0.99 / |A|
    weight: float | Float[Array, ""] = 1.0  # omega at the start
    reflected: bool = eqx.field(static=True, default=True)
    restarts: bool = eqx.field(static=True, default=True)
    sufficient: float | Float[Array, ""] = 0.1  # of the epoch's first distance: restart
    necessary: float | Float[Array, ""] = 0.6  # restart as soon as the distance grows again
    artificial: float | Float[Array, ""] = 0.2  # of all iterations in one epoch: restart
    smoothing: float | Float[Array, ""] = 0.7  # share of the way to |dy| / |dx| that log omega goes at a restart
    tolerance: float | Float[Array, ""] = 0.0  # relative KKT residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps beyond the certified one

    def __check_init__(self):
        monitoring.check_strides(self)
        if self.step_size is not None:
            checks.positive("Params.step_size", self.step_size)
        checks.positive("Params.weight", self.weight)
        for name in ("sufficient", "necessary", "artificial", "smoothing"):
            checks.positive(f"Params.{name}", getattr(self, name))
            checks.in_range(f"Params.{name}", getattr(self, name), 0, 1)


class Lifted(NamedTuple):
    """A point with its images; linear combinations of lifted points are lifted points."""

    x: Point
    y: Point
    forward: Point  # A x
    transpose: Point  # A'y


class State(NamedTuple):
    step: Int[Array, ""]  # strides
    at: Lifted  # z
    anchor: Lifted
    candidate: Lifted  # T of the z before: what is reported
    weight: Float[Array, ""]  # omega
    inner: Int[Array, ""]  # k, iterations since the last restart
    total: Int[Array, ""]  # iterations
    restarts: Int[Array, ""]
    first: Float[Array, ""]  # |z - T z|_P at k = 0
    last: Float[Array, ""]  # the same, one iteration ago
    ledger: monitoring.Ledger


class Solution(NamedTuple):
    """What `solve` returns; with lanes, everything has them in front."""

    x: Point  # within its bounds
    y: Point  # >= 0 on inequalities
    kkt: linear_programs.Kkt
    iterations: Int[Array, ""]
    restarts: Int[Array, ""]
    status: Int[Array, ""]  # CONVERGED, BUDGET or DIVERGED


def certified_step(program: LinearProgram) -> Float[Array, ""]:
    """1 / |A|_2, below which the P-norm is one."""
    return 1 / program.lipschitz_full


def lift(program: LinearProgram, z: Point) -> Lifted:
    """z = (x, y) with its images: two products."""
    return Lifted(*z, program.operator.forward(z[0]), program.operator.transpose(z[1]))


def move(program: LinearProgram, at: Lifted, step_size: Float[Array, ""], weight: Float[Array, ""]) -> Lifted:
    """T(z): two products."""
    tau, sigma = step_size / weight, step_size * weight
    x = jax.tree.map(
        lambda x, c, aty, low, high: jnp.clip(x - tau * (c + aty), low, high),
        at.x, program.costs, at.transpose, program.low, program.high,
    )  # fmt: skip
    forward = program.operator.forward(x)
    y = program.project_multipliers(
        jax.tree.map(lambda y, new, old, b: y + sigma * (2 * new - old - b), at.y, forward, at.forward, program.limits)
    )
    return Lifted(x, y, forward, program.operator.transpose(y))


def distance(a: Lifted, b: Lifted, step_size: Float[Array, ""], weight: Float[Array, ""]) -> Float[Array, ""]:
    """|a - b|_P; no product. What rounding makes negative under the root is zero."""
    d = optax.tree.sub(a, b)
    squares = optax.tree.norm(d.x, squared=True) * weight + optax.tree.norm(d.y, squared=True) / weight
    return jnp.sqrt(jnp.maximum(squares / step_size - 2 * optax.tree.vdot(d.y, d.forward), 0))


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step at or beyond 1 / |A|, naming it, unless `params.unsafe`; skips tracers."""
    program = problem.inclusion
    checks.require(
        isinstance(program, LinearProgram), "Problem.inclusion", "be a LinearProgram", type(program).__name__
    )
    limit = certified_step(program)
    if params.step_size is not None and not params.unsafe and checks.is_concrete(params.step_size, limit):
        allowed = f"be < {float(limit):.6g}, the certified limit, unless unsafe=True"
        checks.require(float(params.step_size) < float(limit), "Params.step_size", allowed, float(params.step_size))


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """At the start, clipped into the bounds. The key is not used. Raises ValueError as `validate` does."""
    del key
    validate(problem, params)
    program = problem.inclusion
    dtype = jax.tree.leaves(program.costs)[0].dtype
    start = lift(program, program.prox(problem.start, 1.0))
    ledger = monitoring.spend(monitoring.open_ledger(_residual(program, start), 0), 1)
    none, zero = jnp.int32(0), jnp.zeros((), dtype)
    weight = jnp.asarray(params.weight, dtype)
    return State(none, start, start, start, weight, none, none, none, zero, zero, ledger)


def _residual(program, at):
    return linear_programs.kkt_of_images(program, (at.x, at.y), at.forward, at.transpose).residual


def _step_size(program, params):
    chosen = _RELATIVE_STEP * certified_step(program) if params.step_size is None else params.step_size
    return jnp.asarray(chosen, jax.tree.leaves(program.costs)[0].dtype)


def _iterate(program, params, step_size, state):
    at, anchor, k = state.at, state.anchor, state.inner
    moved = move(program, at, step_size, state.weight)
    gone = distance(at, moved, step_size, state.weight)
    total = state.total + 1
    first = jnp.where(k == 0, gone, state.first)
    real = k.astype(gone.dtype)
    share = 1 / (real + 2)
    keep = -(1 - share) if params.reflected else 0 * share
    push = 2 * (1 - share) if params.reflected else 1 - share
    onwards = jax.tree.map(lambda a, m, z: share * a + push * m + keep * z, anchor, moved, at)
    if not params.restarts:
        return state._replace(at=onwards, candidate=moved, inner=k + 1, total=total, first=first, last=gone)
    enough = gone <= params.sufficient * first
    rising = (gone <= params.necessary * first) & (gone > state.last)
    restart = (k > 0) & (enough | rising | (real >= params.artificial * total))
    dx, dy = (optax.tree.norm(optax.tree.sub(new, old)) for new, old in ((moved.x, anchor.x), (moved.y, anchor.y)))
    follow = restart & (dx > _MOVED) & (dy > _MOVED)
    balance = jnp.where(follow, dy, 1) / jnp.where(follow, dx, 1)
    weight = jnp.where(follow, state.weight * (balance / state.weight) ** params.smoothing, state.weight)
    at = jax.tree.map(lambda new, old: jnp.where(restart, new, old), moved, onwards)
    anchor = jax.tree.map(lambda new, old: jnp.where(restart, new, old), moved, anchor)
    return state._replace(
        at=at, anchor=anchor, candidate=moved, weight=weight, inner=jnp.where(restart, 0, k + 1), total=total,
        restarts=state.restarts + restart, first=first, last=gone,
    )  # fmt: skip


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One stride of iterations; the KKT residual of the last T(z) then needs no product."""
    program = problem.inclusion
    step_size = _step_size(program, params)

    def advance(state):
        body = lambda _, state: _iterate(program, params, step_size, state)  # noqa: E731
        after = jax.lax.fori_loop(0, params.stride, body, state)
        return after._replace(ledger=monitoring.spend(after.ledger, params.stride))

    return monitoring.take(advance, lambda state: _residual(program, state.candidate), state, params.tolerance, 0)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, _point)


def _point(state):
    return state.candidate.x, state.candidate.y


def solve(problem: Problem, params: Params, *, problem_axes: Any = None) -> Solution:
    """At most `params.num_steps` strides, fewer once every lane has met `params.tolerance`; nothing is recorded.

    Args:
      problem_axes: as `jax.vmap`'s `in_axes`, made by `lanes.axes`: a batch of programs with what they do not share in
        front. A shared A makes one matrix product of all lanes. Lanes stop one by one and stand still, bit for bit;
        the call lasts as long as the slowest. None: one program.

    Raises:
      ValueError: a tolerance that is not > 0; as `validate` does, for one program.
    """
    checks.positive("Params.tolerance", params.tolerance)
    if problem_axes is None:
        validate(problem, params)
        return _solve(problem, params)
    return _solve_lanes(problem, params, _Axes(problem_axes))


class _Axes:
    """A tree of axes as a static argument, equal where the axes are."""

    def __init__(self, tree):
        leaves, structure = jax.tree.flatten(tree, is_leaf=lambda axis: axis is None)
        self.tree, self._key = tree, (tuple(leaves), structure)

    def __hash__(self):
        return hash(self._key)

    def __eq__(self, other):
        return self._key == other._key


@eqx.filter_jit
def _solve(problem, params):
    going = lambda state: (state.step < params.num_steps) & (state.ledger.status == Status.OK)  # noqa: E731
    last = jax.lax.while_loop(going, lambda state: step(problem, params, state)[0], init(problem, params))
    return _finish(problem, last)


@eqx.filter_jit
def _solve_lanes(problem, params, axes):
    start = jax.vmap(lambda problem: init(problem, params), in_axes=(axes.tree,))(problem)
    shared = State(**{name: None if name == "step" else 0 for name in State._fields})
    lanes = jax.vmap(
        lambda problem, state: step(problem, params, state)[0], in_axes=(axes.tree, shared), out_axes=shared
    )

    def going(state):
        return (state.step < params.num_steps) & jnp.any(state.ledger.status == Status.OK)

    last = jax.lax.while_loop(going, lambda state: lanes(problem, state), start._replace(step=start.step[0]))
    return jax.vmap(_finish, in_axes=(axes.tree, shared))(problem, last)


def _finish(problem, state):
    x, y = _point(state)
    found = linear_programs.kkt(problem.inclusion, (x, y))
    status = jnp.where(state.ledger.status == Status.OK, Status.BUDGET, state.ledger.status).astype(jnp.int32)
    return Solution(x, y, found, state.total, state.restarts, status)


def example(key: Key) -> tuple[Problem, Params]:
    """A heaviest b-matching with 16 edges, 64 iterations."""
    program = linear_programs.b_matching(key, 4, 8, 2)
    return Problem(program, linear_programs.zero_start(program)), Params(num_steps=8, stride=8)
