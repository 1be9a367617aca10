"""Fast Krasnoselskii-Mann with a loopless SVRG estimate: the other variance-reduced method for class A.

It momentum-accelerates the backward-forward operator S(x) = F(y) + (x - y) / rho, y = prox_{rho G}(x), whose zeros are
those of F + G. With r = 1, theta_k = (k + 1) / (k + r + 3), gamma_k = (k + 1) / (k + r + 1) and
beta_k = 2 B (k + r + 1) / (k + r + 3),
x_{k+1} = x_k + theta_k (x_k - x_{k-1}) - beta_k S_k, where S_k estimates S(x_k) - gamma_k S(x_{k-1}) by 3 components
per draw: at y_k, at y_{k-1} and at a snapshot. Its oracle complexity is O(n + n^(2/3) / eps), against
O~(n + n^(1/2) / eps) of Algorithm 1 (`research.halpern.page`).
Source: `tran-dinh:24`; B = 1 / (2 L) and rho = 1 / L are its published experiments' values, for which we have no
certificate. Departure: a snapshot is taken before it is used, so that the estimate is exact at a refresh.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern import _draws, finite_sums, monitoring
from research.halpern.inclusions import Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result

__all__ = [
    "Info", "Iterate", "Params", "Problem", "Replay", "Result", "State", "batch", "example", "init", "replay", "run",
    "step", "validate",
]  # fmt: skip

#: r of the momentum's schedule.
_DELAY = 1


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # strides
    stride: int = eqx.field(static=True, default=64)  # iterations between two residuals
    batch: int | None = eqx.field(static=True, default=None)  # draws per iteration; None: ceil(n^(2/3)), at most n
    step_size: float | Float[Array, ""] | None = None  # B in (0, 1 / (2 L)]; None: 1 / (2 L); rho is 2 B
    probability: float | Float[Array, ""] | None = None  # of a snapshot, in (0, 1); None: n^(-1/3), at most 1/2
    tolerance: float | Float[Array, ""] = 0.0  # residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow larger steps and class B

    def __check_init__(self):
        monitoring.check_strides(self)
        if self.batch is not None:
            checks.at_least("Params.batch", self.batch, 1)
        if self.step_size is not None:
            checks.positive("Params.step_size", self.step_size)
        _draws.check_open("Params.probability", self.probability)


class Iterate(NamedTuple):
    """What an iteration carries."""

    x: Point
    x_previous: Point
    y_previous: Point  # prox of x_previous
    snapshot: Point
    operator: Point  # F(snapshot)


class State(NamedTuple):
    step: Int[Array, ""]  # strides done
    u: Point  # y = prox_{rho G}(x), the output
    iterate: Iterate
    ledger: monitoring.Ledger
    coin_key: Key
    key: Key


class Replay(NamedTuple):
    """What the method does with draws that were supplied; leading axis: iterations."""

    points: Point  # y_1, ..., y_K
    calls: Int[Array, " K"]


def batch(problem: Problem, params: Params) -> int:
    """Draws per iteration."""
    n = problem.inclusion.num_components
    return min(n, math.ceil(round(n ** (2 / 3), 9))) if params.batch is None else params.batch


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for a step beyond 1 / (2 L) and for class B, unless `params.unsafe`; skips traced values."""
    inclusion = problem.inclusion
    _draws.check_constants(inclusion)
    _draws.check_calls(3 * batch(problem, params) + inclusion.num_components, params.stride)
    wanted = "be True for an inclusion that is not cocoercive on average, on which the method may diverge"
    checks.require(inclusion.cocoercive or params.unsafe, "Params.unsafe", wanted, params.unsafe)
    if params.step_size is not None:
        _draws.check_below(params.step_size, 0.5 / inclusion.lipschitz, params.unsafe, strictly=False)


def init(problem: Problem, params: Params, key: Key) -> State:
    """Before the first iteration, which takes a snapshot; costs n calls of monitoring. Raises as `validate` does."""
    validate(problem, params)
    rho = 2 * _step_size(problem, params)
    ledger = monitoring.open_ledger(
        natural_residual(problem.inclusion, problem.start, rho), problem.inclusion.num_components
    )
    u = problem.inclusion.prox(problem.start, rho)
    iterate = Iterate(problem.start, problem.start, u, u, optax.tree.zeros_like(u))
    return State(jnp.int32(0), u, iterate, ledger, prng.stream(key, "coins"), prng.stream(key, "indices"))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One stride of iterations, 3 b calls each and n for every snapshot; then |F(y) + (x - y) / rho|."""
    inclusion, stride = problem.inclusion, params.stride
    n, b, size = inclusion.num_components, batch(problem, params), _step_size(problem, params)

    def advance(state):
        k = state.step * stride + jnp.arange(stride)
        probability = min(0.5, n ** (-1 / 3)) if params.probability is None else params.probability
        coins = _draws.coins(state.coin_key, state.step, stride, probability) | (k == 0)
        draws = _draws.indices(inclusion, state.key, state.step, stride, b)
        start = (state.u, state.iterate)
        (u, iterate), _ = jax.lax.scan(
            lambda now, drawn: (_iterate(inclusion, size, now, *drawn), None), start, (k, coins, draws)
        )
        calls = stride * 3 * b + jnp.sum(coins, dtype=jnp.int32) * n
        return state._replace(u=u, iterate=iterate, ledger=monitoring.spend(state.ledger, calls))

    def measure(state):
        pull = optax.tree.scale(0.5 / size, optax.tree.sub(state.iterate.x, state.u))
        return optax.tree.norm(optax.tree.add(inclusion.full(state.u), pull))

    return monitoring.take(advance, measure, state, params.tolerance, n)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.u)


def replay(problem: Problem, params: Params, coins: Bool[Array, " K"], indices: Int[Array, "K b I"]) -> Replay:
    """K iterations with supplied draws; the first coin is 1. Raises ValueError for draws of wrong length or range."""
    state = init(problem, params, prng.root_key(0))
    inclusion, size = problem.inclusion, _step_size(problem, params)
    checks.same_length(coins=coins, indices=indices)
    coins, indices = _draws.check_supplied(inclusion, batch(problem, params), coins, indices)
    if checks.is_concrete(coins) and len(coins):
        checks.require(bool(coins[0]), "coins[0]", "be 1, there being no snapshot yet", int(coins[0]))

    def iterate(now, drawn):
        now = _iterate(inclusion, size, now, *drawn)
        return now, now[0]

    k = jnp.arange(len(coins), dtype=jnp.int32)
    _, points = jax.lax.scan(iterate, (state.u, state.iterate), (k, coins, indices))
    calls = jnp.cumsum(3 * batch(problem, params) + coins * inclusion.num_components)
    return Replay(points, calls)


def _iterate(inclusion, step_size, now, k, coin, draws):
    """Iteration k, from (y_k, iterate) to the next."""
    y, at = now
    snapshot, operator = jax.lax.cond(coin, lambda: (y, inclusion.full(y)), lambda: (at.snapshot, at.operator))
    k = k.astype(step_size.dtype)
    momentum = (k + 1) / (k + _DELAY + 3)
    kept = (k + 1) / (k + _DELAY + 1)
    taken = 2 * step_size * (k + _DELAY + 1) / (k + _DELAY + 3)
    new = inclusion.difference(draws, y, snapshot)
    old = inclusion.difference(draws, at.y_previous, snapshot)

    def move(x, x_previous, y, y_previous, operator, new, old):
        estimate = (1 - kept) * operator + new - kept * old
        pull = (x - y - kept * (x_previous - y_previous)) / (2 * step_size)
        return x + momentum * (x - x_previous) - taken * (estimate + pull)

    x = jax.tree.map(move, at.x, at.x_previous, y, at.y_previous, operator, new, old)
    return inclusion.prox(x, 2 * step_size), Iterate(x, at.x, y, snapshot, operator)


def _step_size(problem, params):
    chosen = 0.5 / problem.inclusion.lipschitz if params.step_size is None else params.step_size
    return jnp.asarray(chosen, jax.tree.leaves(problem.start)[0].dtype)


def example(key: Key) -> tuple[Problem, Params]:
    """Least squares with 27 rows and 4 columns, eight strides of four iterations."""
    rows, noise = jax.random.split(key)
    features = jax.random.normal(rows, (27, 4))
    targets = features @ jnp.ones(4) + 0.1 * jax.random.normal(noise, (27,))
    problem = Problem(finite_sums.least_squares(features, targets), jnp.zeros(4))
    return problem, Params(num_steps=8, stride=4)
