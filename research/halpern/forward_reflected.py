"""Forward-reflected-backward (FoRB): u <- prox(u - eta (2 F(u_k) - F(u_{k-1}))), one full operator an iteration.

A deterministic baseline of class B, at half the price of extragradient and half its step.
Source: `malitsky:20`, with F(u_{-1}) := F(u_0).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.halpern import _draws, games, monitoring
from research.halpern.inclusions import Inclusion, Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "example", "init", "largest_certified_step", "run", "step",
    "validate",
]  # fmt: skip


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides made by one call of `run`
    stride: int = eqx.field(static=True, default=1)  # iterations in a stride
    step_size: Float[Array, ""] | None = None  # eta; None: 0.45 / L_F
    tolerance: Float[Array, ""] = 0.0  # natural residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps of 1 / (2 L_F) and more

    def __check_init__(self):
        monitoring.check_strides(self)
        if self.step_size is not None:
            checks.positive("Params.step_size", self.step_size)


class State(NamedTuple):
    step: Int[Array, ""]  # strides made
    u: Point
    operator: Point  # F(u_{k-1}); of no account before the first iteration
    ledger: monitoring.Ledger


def largest_certified_step(inclusion: Inclusion) -> Float[Array, ""]:
    """1 / (2 L_F), itself excluded."""
    return 0.5 / inclusion.lipschitz_full


def _step_size(inclusion, params):
    return 0.45 / inclusion.lipschitz_full if params.step_size is None else params.step_size


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step of 1 / (2 L_F) or more unless `params.unsafe`; skips tracers."""
    inclusion = problem.inclusion
    _draws.check_constants(inclusion)
    _draws.check_calls(inclusion.num_components, params.stride)
    _draws.check_below(_step_size(inclusion, params), largest_certified_step(inclusion), params.unsafe)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """At the start, with its residual (n calls of the monitoring); `key` is not used."""
    del key
    validate(problem, params)
    residual = natural_residual(problem.inclusion, problem.start)
    ledger = monitoring.open_ledger(residual, problem.inclusion.num_components)
    return State(jnp.int32(0), problem.start, optax.tree.zeros_like(problem.start), ledger)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """`params.stride` iterations, then the natural residual."""
    inclusion, n = problem.inclusion, problem.inclusion.num_components
    eta = _step_size(inclusion, params)

    def iterate(i, carry):
        u, before = carry
        operator = inclusion.full(u)
        first = state.step * params.stride + i == 0
        reflected = jax.tree.map(lambda new, old: jnp.where(first, new, 2 * new - old), operator, before)
        return inclusion.prox(optax.tree.add_scale(u, -eta, reflected), eta), operator

    def go(state):
        point, operator = jax.lax.fori_loop(0, params.stride, iterate, (state.u, state.operator))
        ledger = monitoring.spend(state.ledger, n * params.stride)
        return state._replace(u=point, operator=operator, ledger=ledger)

    return monitoring.take(go, lambda state: natural_residual(inclusion, state.u), state, params.tolerance, n)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides, from the start or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.u)


def example(key: Key) -> tuple[Problem, Params]:
    """A random 6 x 5 game, 16 iterations."""
    game = games.matrix_game(jax.random.normal(key, (6, 5)))
    return Problem(game, games.uniform_start(game)), Params(num_steps=8, stride=2)
