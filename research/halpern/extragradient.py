"""Extragradient, without an anchor and with two: the deterministic baselines of class B, 2n calls an iteration.

`anchor="none"`: h = prox(u - eta F(u)), u <- prox(u - eta F(h)).
`anchor="eag"`: the same from a_k = u_0 / (k + 2) + (1 - 1 / (k + 2)) u_k, F(u) still taken at u_k.
`anchor="feg"`: a_k with 1 / (k + 1), h = a_k - (1 - 1 / (k + 1)) eta F(u_k), u <- a_k - eta F(h); for G = 0 alone.
Source: `korpelevich:76`; `yoon:21`, EAG with a constant step; `lee:21`, FEG for monotone F. Guarantees: `bounds.eag`,
`bounds.feg`.
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

ANCHORS = ("none", "eag", "feg")
#: Steps in units of 1 / L_F: the largest one with a proof, and the one taken where none is asked for.
_PROVED = {"none": 1.0, "eag": 1 / 8, "feg": 1.0}
_RECOMMENDED = {"none": 0.9, "eag": 1 / 8, "feg": 1.0}


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides made by one call of `run`
    stride: int = eqx.field(static=True, default=1)  # iterations in a stride
    anchor: str = eqx.field(static=True, default="none")  # "none", "eag" or "feg"
    step_size: Float[Array, ""] | None = None  # eta; None: 0.9 / L_F, 1 / (8 L_F) or 1 / L_F
    tolerance: Float[Array, ""] = 0.0  # natural residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps beyond the proved limit

    def __check_init__(self):
        monitoring.check_strides(self)
        checks.one_of("Params.anchor", self.anchor, ANCHORS)
        if self.step_size is not None:
            checks.positive("Params.step_size", self.step_size)


class State(NamedTuple):
    step: Int[Array, ""]  # strides made
    u: Point
    ledger: monitoring.Ledger


def largest_certified_step(inclusion: Inclusion, anchor: str = "none") -> Float[Array, ""]:
    """1 / L_F (excluded without an anchor), or 1 / (8 L_F) for "eag", for which 0.9 / L_F is usual and unproved."""
    return _PROVED[anchor] / inclusion.lipschitz_full


def _step_size(inclusion, params):
    limit = inclusion.lipschitz_full
    return (
        _RECOMMENDED[params.anchor] / limit if params.step_size is None else jnp.asarray(params.step_size, limit.dtype)
    )


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step beyond the proved one unless `params.unsafe`, and for "feg" with a G."""
    inclusion, start = problem.inclusion, problem.start
    _draws.check_constants(inclusion)
    _draws.check_calls(2 * inclusion.num_components, params.stride)
    limit = largest_certified_step(inclusion, params.anchor)
    strictly = params.anchor == "none"
    _draws.check_below(_step_size(inclusion, params), limit, params.unsafe, strictly=strictly)
    if params.anchor == "feg" and checks.is_concrete(problem):
        far = jax.tree.map(lambda leaf: 1e3 * (leaf - 1), start)
        moved = optax.tree.sub(inclusion.prox(far, 1 / inclusion.lipschitz_full), far)
        free = not any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(moved))
        checks.require(free, "Params.anchor", 'be "none" or "eag" where G is not 0', repr(params.anchor))


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """At the start, with its residual (n calls of the monitoring); `key` is not used."""
    del key
    validate(problem, params)
    residual = natural_residual(problem.inclusion, problem.start)
    return State(jnp.int32(0), problem.start, monitoring.open_ledger(residual, problem.inclusion.num_components))


def _iterate(inclusion, anchor, params, k, u):
    """Iteration k."""
    eta = _step_size(inclusion, params)
    operator = inclusion.full(u)
    if params.anchor == "none":
        base, first = u, eta
    else:
        pull = 1 / (k + (2 if params.anchor == "eag" else 1)).astype(eta.dtype)
        base = jax.tree.map(lambda a, v: pull * a + (1 - pull) * v, anchor, u)
        first = eta if params.anchor == "eag" else (1 - pull) * eta
    half = inclusion.prox(optax.tree.add_scale(base, -first, operator), eta)
    return inclusion.prox(optax.tree.add_scale(base, -eta, inclusion.full(half)), eta)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """`params.stride` iterations, then the natural residual."""
    inclusion, n = problem.inclusion, problem.inclusion.num_components

    def go(state):
        first = state.step * params.stride
        point = jax.lax.fori_loop(
            0, params.stride, lambda i, u: _iterate(inclusion, problem.start, params, first + i, u), state.u
        )
        return state._replace(u=point, ledger=monitoring.spend(state.ledger, 2 * n * params.stride))

    return monitoring.take(go, lambda state: natural_residual(inclusion, state.u), state, params.tolerance, n)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides, from the start or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.u)


def example(key: Key) -> tuple[Problem, Params]:
    """A random 6 x 5 game, 16 iterations."""
    game = games.matrix_game(jax.random.normal(key, (6, 5)))
    return Problem(game, games.uniform_start(game)), Params(num_steps=8, stride=2)
