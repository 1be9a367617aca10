"""Forward-backward steps with the full operator, with Halpern's anchor or without: the baselines of Algorithm 1.

T(u) = prox_{eta G}(u - eta F(u)) is nonexpansive for eta <= 2 / L_F where F is the gradient of a convex function, as in
all class A inclusions of this family. The anchored iteration u_{k+1} = u_0 / (k + 2) + (k + 1) / (k + 2) T(u_k) has
|u_k - T(u_k)| <= 2 R / (k + 1) (`research.halpern.bounds.halpern_nonexpansive`); the plain one, T again and again, has
a rate of its own for eta < 2 / L_F.
Source: `lieder:21` for the anchored rate; `cai:24` for the comparison.
"""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.halpern import _draws, finite_sums, monitoring, schedules
from research.halpern.inclusions import Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "certified_step", "example", "init", "run", "step", "validate",
]  # fmt: skip


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides
    stride: int = eqx.field(static=True, default=1)  # iterations between two residuals
    anchor: Literal["halpern", "none"] = eqx.field(static=True, default="halpern")
    step_size: float | Float[Array, ""] | None = None  # eta in (0, 2 / L_F]; None: 1 / L_F
    tolerance: float | Float[Array, ""] = 0.0  # residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps and inclusions for which nothing is proved

    def __check_init__(self):
        monitoring.check_strides(self)
        checks.one_of("Params.anchor", self.anchor, ("halpern", "none"))
        if self.step_size is not None:
            checks.positive("Params.step_size", self.step_size)


class State(NamedTuple):
    step: Int[Array, ""]  # strides done
    u: Point
    ledger: monitoring.Ledger


def certified_step(problem: Problem) -> Float[Array, ""]:
    """2 / L_F, up to which T is nonexpansive."""
    return 2 / problem.inclusion.lipschitz_full


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step beyond 2 / L_F and for class B, unless `params.unsafe`; skips traced values."""
    inclusion = problem.inclusion
    _draws.check_constants(inclusion)
    _draws.check_calls(inclusion.num_components, params.stride)
    wanted = "be True for an inclusion that is not cocoercive, on which forward-backward may diverge"
    checks.require(inclusion.cocoercive or params.unsafe, "Params.unsafe", wanted, params.unsafe)
    if params.step_size is not None:
        _draws.check_below(params.step_size, certified_step(problem), params.unsafe, strictly=False)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Before the first iteration; costs n calls of monitoring. Nothing is drawn. Raises ValueError as `validate`."""
    del key
    validate(problem, params)
    residual = natural_residual(problem.inclusion, problem.start, _step_size(problem, params))
    ledger = monitoring.open_ledger(residual, problem.inclusion.num_components)
    return State(jnp.int32(0), problem.start, ledger)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One stride of iterations, n calls each, then the residual |u - T(u)| / eta."""
    inclusion, size, n = problem.inclusion, _step_size(problem, params), problem.inclusion.num_components

    def iterate(i, u):
        moved = inclusion.prox(optax.tree.add_scale(u, -size, inclusion.full(u)), size)
        if params.anchor == "none":
            return moved
        weight = schedules.halpern_anchor((state.step * params.stride + i).astype(size.dtype))
        return jax.tree.map(lambda start, moved: weight * start + (1 - weight) * moved, problem.start, moved)

    def advance(state):
        u = jax.lax.fori_loop(0, params.stride, iterate, state.u)
        return state._replace(u=u, ledger=monitoring.spend(state.ledger, params.stride * n))

    return monitoring.take(
        advance, lambda state: natural_residual(inclusion, state.u, size), state, params.tolerance, n
    )


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.u)


def _step_size(problem, params):
    chosen = 1 / problem.inclusion.lipschitz_full if params.step_size is None else params.step_size
    return jnp.asarray(chosen, jax.tree.leaves(problem.start)[0].dtype)


def example(key: Key) -> tuple[Problem, Params]:
    """Least squares with 16 rows and 4 columns, eight iterations."""
    rows, noise = jax.random.split(key)
    features = jax.random.normal(rows, (16, 4))
    targets = features @ jnp.ones(4) + 0.1 * jax.random.normal(noise, (16,))
    return Problem(finite_sums.least_squares(features, targets), jnp.zeros(4)), Params(num_steps=8)
