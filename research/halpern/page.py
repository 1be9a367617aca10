"""Algorithm 1: the Halpern iteration on a forward-backward step whose operator is estimated by PAGE.

u_{k+1} = prox_{eta G}(lambda_k u_0 + (1 - lambda_k) u_k - eta E_k), where the estimate E_k of F(u_k) is F(u_k) itself
with probability p_k, and else E_{k-1} plus a batch's mean of (F_i(u_k) - F_i(u_{k-1})) / (n q_i). For inclusions that
are cocoercive on average (class A) the last iterate's residual is at most about 8 L R / (k + 4) in root mean square
(`research.halpern.bounds.page_residual`), for O~(n + sqrt(n) L R / eps) calls.
Source: `cai:24`, Algorithm 1. Departures: draws are independent, since distinct ones cost a permutation per iteration;
the batch is ceil(sqrt(n)) instead of floor, and the step comes from a certificate (`research.halpern.schedules`).

The estimate is a running sum: in float32 it drifts by rounding until the next refresh; keep 1 / p_k below a thousand.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern import _draws, finite_sums, monitoring, sampling, schedules
from research.halpern.inclusions import Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result

__all__ = [
    "Info", "Params", "Problem", "Replay", "Result", "State", "batch", "certified_step", "example", "init", "replay",
    "run", "step", "subgradient", "validate",
]  # fmt: skip


class Params(eqx.Module):
    """With everything left out: the certified step, the paper's schedules, a residual every 64 iterations."""

    num_steps: int = eqx.field(static=True)  # strides
    stride: int = eqx.field(static=True, default=64)  # iterations between two residuals
    batch: int | None = eqx.field(static=True, default=None)  # draws b >= 1; None: ceil(sqrt(n)); from n on all is full
    step_size: float | Float[Array, ""] | None = None  # eta > 0; None: the largest certified one
    refresh: schedules.Refresh | None = None  # probabilities p_k; None: the paper's
    tolerance: float | Float[Array, ""] = 0.0  # residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow steps and inclusions for which nothing is proved

    def __check_init__(self):
        monitoring.check_strides(self)
        if self.batch is not None:
            checks.at_least("Params.batch", self.batch, 1)
        if self.step_size is not None:
            checks.positive("Params.step_size", self.step_size)
        if self.refresh is not None:
            checks.positive("Params.refresh.decay", self.refresh.decay)
            checks.positive("Params.refresh.floor", self.refresh.floor)
            checks.in_range("Params.refresh.floor", self.refresh.floor, 0, 1)


class State(NamedTuple):
    step: Int[Array, ""]  # strides done
    u: Point  # u_k
    previous: Point  # u_{k-1}
    estimate: Point  # E_{k-1}, of F(u_{k-1})
    forward: Point  # what the prox was given; (forward - u) / step_size lies in G(u)
    ledger: monitoring.Ledger
    coin_key: Key  # of the refreshes; lanes share it
    key: Key  # of the batches


class Replay(NamedTuple):
    """What the method does with draws that were supplied; leading axis: iterations."""

    points: Point  # u_1, ..., u_K
    calls: Int[Array, " K"]  # spent so far
    estimates: Point  # E_0, ..., E_{K-1}
    residuals: Float[Array, " K"]  # |F(u) + g| at the points


def batch(problem: Problem, params: Params) -> int:
    """Draws b per estimate."""
    return schedules.batch_size(problem.inclusion.num_components) if params.batch is None else params.batch


def certified_step(problem: Problem, params: Params) -> Float[Array, ""]:
    """The largest step for which the bound is proved: `schedules.certified_limit` over L."""
    if not checks.is_concrete(params.refresh):
        raise ValueError("Params.step_size must be given where Params.refresh is traced, got None.")
    n = problem.inclusion.num_components
    limit = schedules.certified_limit(n, batch(problem, params), refresh=params.refresh)
    return limit / problem.inclusion.lipschitz


def subgradient(problem: Problem, params: Params, state: State) -> Point:
    """g in G(u), the one that the prox step made; from the first step on."""
    return _subgradient(_step_size(problem, params), state)


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for what is not proved to converge, unless `params.unsafe`; traced values are passed by.

    Raises:
      ValueError for an inclusion that is not cocoercive on average, a step beyond the certified one, which the message
        gives, or strides so long that their calls do not fit the counter.
    """
    inclusion = problem.inclusion
    _draws.check_constants(inclusion)
    _draws.check_calls(max(inclusion.num_components, 2 * batch(problem, params)), params.stride)
    if not inclusion.cocoercive:
        wanted = "be True for an inclusion that is not cocoercive on average, on which Algorithm 1 may diverge"
        checks.require(params.unsafe, "Params.unsafe", wanted, params.unsafe)
        wanted = "be given for an inclusion that is not cocoercive on average"
        checks.require(params.step_size is not None, "Params.step_size", wanted, params.step_size)
    elif params.step_size is not None and not params.unsafe and checks.is_concrete(params.refresh):
        _draws.check_below(params.step_size, certified_step(problem, params), False, strictly=False)


def init(problem: Problem, params: Params, key: Key) -> State:
    """Before the first iteration; costs n calls of monitoring. Raises ValueError as `validate` does."""
    validate(problem, params)
    start = problem.start
    residual = natural_residual(problem.inclusion, start, _step_size(problem, params))
    ledger = monitoring.open_ledger(residual, problem.inclusion.num_components)
    keys = prng.stream(key, "coins"), prng.stream(key, "indices")
    return State(jnp.int32(0), start, start, optax.tree.zeros_like(start), start, ledger, *keys)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One stride of iterations, then one residual."""
    inclusion, stride, size = problem.inclusion, params.stride, _step_size(problem, params)
    n, b = inclusion.num_components, batch(problem, params)

    def advance(state):
        k = state.step * stride + jnp.arange(stride)
        draws = coins = None
        if not _always_full(problem, params):
            uniform = monitoring.draw_stride(
                lambda key, count: sampling.unit_interval(key, (count,)), state.coin_key, state.step, stride
            )
            refresh = schedules.page_refresh(n) if params.refresh is None else params.refresh
            coins = uniform < schedules.refresh_probability(k, refresh)
            draws = _draws.indices(inclusion, state.key, state.step, stride, b)
        iterate = lambda state, now: (_iterate(problem, size, state, *now), None)  # noqa: E731
        state, _ = jax.lax.scan(iterate, state, (k, coins, draws), length=stride)
        full = stride if coins is None else jnp.sum(coins, dtype=jnp.int32)
        return state._replace(ledger=monitoring.spend(state.ledger, full * n + (stride - full) * 2 * b))

    return monitoring.take(advance, lambda state: _residual(problem, size, state), state, params.tolerance, n)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` strides; pass `state` instead of `key` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.u)


def replay(problem: Problem, params: Params, coins: Bool[Array, " K"], indices: Int[Array, "K b I"]) -> Replay:
    """K iterations with supplied draws, K >= 0, which takes the place of strides and schedules.

    Args:
      coins: 0 or 1; 1 evaluates in full and ignores its row of `indices`. The first is 1.
      indices: of components; b as `batch` says.

    Raises:
      ValueError as `validate` does, and for draws of wrong length or range.
    """
    validate(problem, params)
    inclusion = problem.inclusion
    checks.same_length(coins=coins, indices=indices)
    coins, indices = _draws.check_supplied(inclusion, batch(problem, params), coins, indices)
    if checks.is_concrete(coins) and len(coins):
        checks.require(bool(coins[0]), "coins[0]", "be 1, there being no estimate yet", int(coins[0]))
    size, n = _step_size(problem, params), inclusion.num_components

    def iterate(state, now):
        state = _iterate(problem, size, state, *now)
        return state, (state.u, state.estimate, _residual(problem, size, state))

    state = init(problem, params, prng.root_key(0))
    k = jnp.arange(len(coins), dtype=jnp.int32)
    _, (points, estimates, residuals) = jax.lax.scan(iterate, state, (k, coins, indices))
    calls = jnp.cumsum(jnp.where(coins, n, 2 * indices.shape[1]))
    return Replay(points, calls, estimates, residuals)


def _iterate(problem, step_size, state, k, coin, draws):
    """Iteration k, from u_k to u_{k+1}; full where `coin` is, or where there are no coins."""
    inclusion = problem.inclusion

    def evaluate():
        return inclusion.full(state.u)

    def correct():
        return optax.tree.add(state.estimate, inclusion.difference(draws, state.u, state.previous))

    estimate = evaluate() if coin is None else jax.lax.cond(coin, evaluate, correct)

    def move(start, u, estimate):
        weight = schedules.page_anchor(k.astype(u.dtype))
        return weight * start + (1 - weight) * u - step_size.astype(u.dtype) * estimate

    forward = jax.tree.map(move, problem.start, state.u, estimate)
    u = inclusion.prox(forward, step_size)
    return state._replace(u=u, previous=state.u, estimate=estimate, forward=forward)


def _residual(problem, step_size, state):
    return optax.tree.norm(optax.tree.add(problem.inclusion.full(state.u), _subgradient(step_size, state)))


def _subgradient(step_size, state):
    return optax.tree.scale(1 / step_size, optax.tree.sub(state.forward, state.u))


def _step_size(problem, params):
    chosen = certified_step(problem, params) if params.step_size is None else params.step_size
    return jnp.asarray(chosen, jax.tree.leaves(problem.start)[0].dtype)


def _always_full(problem, params):
    n = problem.inclusion.num_components
    return batch(problem, params) >= n or (params.refresh is None and n <= 3)


def example(key: Key) -> tuple[Problem, Params]:
    """Least squares with 32 rows and 4 columns, eight strides of four iterations."""
    rows, noise = jax.random.split(key)
    features = jax.random.normal(rows, (32, 4))
    targets = features @ jnp.ones(4) + 0.1 * jax.random.normal(noise, (32,))
    problem = Problem(finite_sums.least_squares(features, targets), jnp.zeros(4))
    return problem, Params(num_steps=8, stride=4)
