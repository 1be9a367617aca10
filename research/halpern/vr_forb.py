"""Variance-reduced forward-reflected-backward (VR-FoRB): two component calls an iteration, seldom a full operator.

Solves 0 in F(u) + G(u) for F monotone and L-Lipschitz on average. Each iteration corrects the operator at a snapshot by
one sampled difference, and renews the snapshot with probability p. Converges linearly where F + G is strongly monotone,
as `subproblem` is: there it is the inner solver of `resolvent`. On other problems its last iterate has no rate.
Source: `alacaoglu:21` for the iteration, `cai:24` for its use; step sizes and `bounds.vr_forb` are derived.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels import vr_forb_game
from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern import _draws, games, monitoring
from research.halpern.inclusions import Inclusion, Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result
from research.halpern.subproblem import Subproblem

__all__ = [
    "Info", "Iterate", "Params", "Problem", "Rates", "Result", "State", "advance", "begin", "certified_step", "example",
    "init", "rates", "replay", "run", "step", "validate",
]  # fmt: skip


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides made by one call of `run`
    stride: int = eqx.field(static=True, default=1)  # iterations in a stride
    batch: int = eqx.field(static=True, default=1)  # b: draws averaged in one iteration
    step_size: Float[Array, ""] | None = None  # tau; None: safety * `certified_step`
    safety: Float[Array, ""] = 0.9  # s in (0, 1); the guarantee is best near 1/2, practice near 0.9
    probability: Float[Array, ""] | None = None  # p in (0, 1); None: min(1/2, 2 b / n)
    tolerance: Float[Array, ""] = 0.0  # natural residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps beyond the certified limit

    def __check_init__(self):
        monitoring.check_strides(self)
        checks.at_least("Params.batch", self.batch, 1)
        _draws.check_rates(self.step_size, self.safety, self.probability, self.unsafe)


class Rates(NamedTuple):
    step_size: Float[Array, ""]  # tau
    probability: Float[Array, ""]  # p


class Iterate(NamedTuple):
    """What an iteration carries."""

    point: Point  # v
    snapshot: Point  # w
    lagged: Point  # w one iteration ago: w itself, except right after a new snapshot
    operator: Point  # F(w)


class State(NamedTuple):
    step: Int[Array, ""]  # strides made
    iterate: Iterate
    ledger: monitoring.Ledger
    coin_key: Key
    key: Key


def certified_step(inclusion: Inclusion, probability: Float[Array, ""], batch: int = 1) -> Float[Array, ""]:
    """sqrt(p (1 - p)) / L_b, L_b^2 = L_F^2 + (L^2 - L_F^2) / b: any smaller step is covered by `bounds.vr_forb`."""
    full = inclusion.lipschitz_full**2
    lipschitz = jnp.sqrt(full + (inclusion.lipschitz**2 - full) / batch) if batch > 1 else inclusion.lipschitz
    return jnp.sqrt(probability * (1 - probability)) / lipschitz


def rates(inclusion: Inclusion, params: Params) -> Rates:
    """What `params` asks for, with the recommended values where it asks for none. Any params with these fields."""
    probability = params.probability
    if probability is None:
        probability = _draws.probability(inclusion.num_components, params.batch)
    if params.step_size is not None:
        return Rates(params.step_size, probability)
    return Rates(params.safety * certified_step(inclusion, probability, params.batch), probability)


def begin(inclusion: Inclusion, v: Point) -> Iterate:
    """The start v, with itself as snapshot: n calls."""
    return Iterate(v, v, v, inclusion.full(v))


def _iterate(inclusion, used, at, coin, draws):
    tau, p = used

    def forward(v, w, operator, correction):
        return (1 - p) * v + p * w - tau * (operator + correction)

    correction = inclusion.difference(draws, at.point, at.lagged)
    point = inclusion.prox(jax.tree.map(forward, at.point, at.snapshot, at.operator, correction), tau)
    snapshot, operator = jax.lax.cond(coin, lambda: (point, inclusion.full(point)), lambda: (at.snapshot, at.operator))
    return Iterate(point, snapshot, at.snapshot, operator)


def advance(
    inclusion: Inclusion,
    used: Rates,
    at: Iterate,
    coins: Bool[Array, " K"],
    draws: Int[Array, "K b I"],
    length: int | Int[Array, ""],
) -> tuple[Iterate, Int[Array, ""]]:
    """The first `length` <= K iterations with these draws, and the calls they cost.

    A game's loop has a kernel of its own (`pallas_kernels.vr_forb_game`), as has its resolvent's.
    """
    inner_loop = inclusion.inner_loop()
    if inner_loop is None:
        at = jax.lax.fori_loop(0, length, lambda i, at: _iterate(inclusion, used, at, coins[i], draws[i]), at)
    else:
        numbers = (jnp.asarray(value, inner_loop.rows.dtype) for value in used)
        drawn = vr_forb_game.Draws(coins, draws[..., 0], draws[..., -1])
        start = vr_forb_game.Iterate(*at)
        at = Iterate(*vr_forb_game.vr_forb_game(inner_loop, vr_forb_game.Rates(*numbers), start, drawn, length))
    renewed = jnp.sum(jnp.where(jnp.arange(len(coins)) < length, coins, False), dtype=jnp.int32)
    return at, 2 * draws.shape[1] * length + inclusion.num_components * renewed


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step at or beyond the certified one, naming it, unless `params.unsafe`; skips tracers."""
    inclusion = problem.inclusion
    _draws.check_constants(inclusion)
    _draws.check_calls(2 * params.batch + inclusion.num_components, params.stride)
    used = rates(inclusion, params)
    _draws.check_below(used.step_size, certified_step(inclusion, used.probability, params.batch), params.unsafe)


def init(problem: Problem, params: Params, key: Key) -> State:
    """At the start, with its operator (n calls) and its residual (n calls of the monitoring)."""
    validate(problem, params)
    iterate = begin(problem.inclusion, problem.start)
    n = problem.inclusion.num_components
    ledger = monitoring.spend(monitoring.open_ledger(natural_residual(problem.inclusion, problem.start), n), n)
    return State(jnp.int32(0), iterate, ledger, prng.stream(key, "coins"), prng.stream(key, "indices"))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """`params.stride` iterations, then the natural residual."""
    inclusion = problem.inclusion
    used = rates(inclusion, params)

    def go(state):
        coins = _draws.coins(state.coin_key, state.step, params.stride, used.probability)
        draws = _draws.indices(inclusion, state.key, state.step, params.stride, params.batch)
        iterate, calls = advance(inclusion, used, state.iterate, coins, draws, params.stride)
        return state._replace(iterate=iterate, ledger=monitoring.spend(state.ledger, calls))

    def measure(state):
        return natural_residual(inclusion, state.iterate.point)

    return monitoring.take(go, measure, state, params.tolerance, inclusion.num_components)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides, from a key or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.iterate.point)


def replay(
    problem: Problem, params: Params, coins: Bool[Array, " K"], indices: Int[Array, "K b I"]
) -> tuple[Point, Int[Array, " K"]]:
    """The iterations of `run` on supplied draws.

    Returns: the points stacked on a leading axis `K`, and the calls up to each of them, the first operator included.
    Raises: ValueError for lengths that differ, coins that are not 0 or 1, indices that are not components.
    """
    validate(problem, params)
    inclusion = problem.inclusion
    coins, indices = _draws.check_supplied(inclusion, params.batch, coins, indices)
    used = rates(inclusion, params)

    def body(carry, drawn):
        at, calls = carry
        coin, draws = drawn
        at = _iterate(inclusion, used, at, coin, draws)
        calls = calls + 2 * params.batch + inclusion.num_components * coin.astype(jnp.int32)
        return (at, calls), (at.point, calls)

    start = (begin(inclusion, problem.start), jnp.int32(inclusion.num_components))
    return jax.lax.scan(body, start, (coins, indices))[1]


def example(key: Key) -> tuple[Problem, Params]:
    """The resolvent of a random 8 x 8 game at the uniform strategies, 32 iterations."""
    game = games.matrix_game(jax.random.normal(key, (8, 8)))
    start = games.uniform_start(game)
    scale = jnp.sqrt(8.0) / game.lipschitz
    return Problem(Subproblem(game, start, scale), start), Params(num_steps=4, stride=8)
