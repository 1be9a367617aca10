"""Variance-reduced extragradient (VR-EG): the stochastic baseline of class B, two component calls an iteration.

From z' = (1 - p) z + p w: h = prox(z' - tau F(w)), z <- prox(z' - tau (F(w) + the sampled F(h) - F(w))), and w <- z
with probability p. The guarantee is for averages; the last iterate is erratic on ill-conditioned bilinear problems.
Source: `alacaoglu:22`, Algorithm 1.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import prng
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern import _draws, games, monitoring
from research.halpern.inclusions import Inclusion, Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result
from research.halpern.vr_forb import Rates

__all__ = [
    "Info", "Iterate", "Params", "Problem", "Result", "State", "example", "init", "largest_certified_step", "replay",
    "run", "step", "validate",
]  # fmt: skip


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides made by one call of `run`
    stride: int = eqx.field(static=True, default=1)  # iterations in a stride
    step_size: Float[Array, ""] | None = None  # tau; None: safety * `largest_certified_step`
    safety: Float[Array, ""] = 0.9  # in (0, 1)
    probability: Float[Array, ""] | None = None  # p in (0, 1); None: min(1/2, 2 / n)
    tolerance: Float[Array, ""] = 0.0  # natural residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps beyond the certified limit

    def __check_init__(self):
        monitoring.check_strides(self)
        _draws.check_rates(self.step_size, self.safety, self.probability, self.unsafe)


class Iterate(NamedTuple):
    """What an iteration carries."""

    point: Point  # z
    snapshot: Point  # w
    operator: Point  # F(w)


class State(NamedTuple):
    step: Int[Array, ""]  # strides made
    iterate: Iterate
    ledger: monitoring.Ledger
    coin_key: Key
    key: Key


def largest_certified_step(inclusion: Inclusion, probability: Float[Array, ""]) -> Float[Array, ""]:
    """sqrt(p) / L, itself excluded."""
    return jnp.sqrt(probability) / inclusion.lipschitz


def _rates(inclusion, params):
    p = _draws.probability(inclusion.num_components) if params.probability is None else params.probability
    if params.step_size is not None:
        return Rates(params.step_size, p)
    return Rates(params.safety * largest_certified_step(inclusion, p), p)


def _iterate(inclusion, used, at, coin, draws):
    tau, p = used
    between = jax.tree.map(lambda z, w: (1 - p) * z + p * w, at.point, at.snapshot)
    moved = optax.tree.add_scale(between, -tau, at.operator)
    half = inclusion.prox(moved, tau)
    point = inclusion.prox(optax.tree.add_scale(moved, -tau, inclusion.difference(draws, half, at.snapshot)), tau)
    return Iterate(
        point, *jax.lax.cond(coin, lambda: (point, inclusion.full(point)), lambda: (at.snapshot, at.operator))
    )


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step of sqrt(p) / L or more unless `params.unsafe`; skips tracers."""
    inclusion = problem.inclusion
    _draws.check_constants(inclusion)
    _draws.check_calls(2 + inclusion.num_components, params.stride)
    used = _rates(inclusion, params)
    _draws.check_below(used.step_size, largest_certified_step(inclusion, used.probability), params.unsafe)


def init(problem: Problem, params: Params, key: Key) -> State:
    """At the start, with its operator (n calls) and its residual (n calls of the monitoring)."""
    validate(problem, params)
    inclusion, start, n = problem.inclusion, problem.start, problem.inclusion.num_components
    ledger = monitoring.spend(monitoring.open_ledger(natural_residual(inclusion, start), n), n)
    iterate = Iterate(start, start, inclusion.full(start))
    return State(jnp.int32(0), iterate, ledger, prng.stream(key, "coins"), prng.stream(key, "indices"))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """`params.stride` iterations, then the natural residual."""
    inclusion, n = problem.inclusion, problem.inclusion.num_components
    used = _rates(inclusion, params)

    def go(state):
        coins = _draws.coins(state.coin_key, state.step, params.stride, used.probability)
        draws = _draws.indices(inclusion, state.key, state.step, params.stride, 1)
        iterate = jax.lax.fori_loop(
            0, params.stride, lambda i, at: _iterate(inclusion, used, at, coins[i], draws[i]), state.iterate
        )
        calls = 2 * params.stride + n * jnp.sum(coins, dtype=jnp.int32)
        return state._replace(iterate=iterate, ledger=monitoring.spend(state.ledger, calls))

    def measure(state):
        return natural_residual(inclusion, state.iterate.point)

    return monitoring.take(go, measure, state, params.tolerance, n)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides, from a key or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.iterate.point)


def replay(
    problem: Problem, params: Params, coins: Bool[Array, " K"], indices: Int[Array, "K 1 I"]
) -> tuple[Point, Int[Array, " K"]]:
    """The iterations of `run` on supplied draws.

    Returns: the points stacked on a leading axis `K`, and the calls up to each of them, the first operator included.
    Raises: ValueError for lengths that differ, coins that are not 0 or 1, indices that are not components.
    """
    validate(problem, params)
    inclusion, start, n = problem.inclusion, problem.start, problem.inclusion.num_components
    coins, indices = _draws.check_supplied(inclusion, 1, coins, indices)
    used = _rates(inclusion, params)

    def body(carry, drawn):
        at, calls = carry
        at = _iterate(inclusion, used, at, *drawn)
        calls = calls + 2 + n * drawn[0].astype(jnp.int32)
        return (at, calls), (at.point, calls)

    begun = Iterate(start, start, inclusion.full(start))
    return jax.lax.scan(body, (begun, jnp.int32(n)), (coins, indices))[1]


def example(key: Key) -> tuple[Problem, Params]:
    """A random 6 x 6 game, 32 iterations."""
    game = games.matrix_game(jax.random.normal(key, (6, 6)))
    return Problem(game, games.uniform_start(game)), Params(num_steps=8, stride=4)
