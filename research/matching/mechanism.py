"""Truthful posted prices: what a node could still earn, by the value to go of the rounding; here from rollouts.

With U_t(F) the expected value of the rounding from time t on when F is free, node i of F costs
U_{t+1}(F) - U_{t+1}(F - i) at time t. The buyer takes the node of largest weight minus price if that is not negative;
what is not sold stays free. Prices do not depend on what the buyer says, so that saying the truth is a dominant
strategy; and the sale is one step of policy improvement, so that welfare is at least the rounding's.

That argument needs U to grow with F. It did for every optimal x tried; for another feasible x it need not, since a free
node can cause discards of others. `mechanism_exact` therefore prices by M_t(F) = max_{G in F} U_t(G), equal to U where
U grows: then prices are never negative, and welfare from every time and set is at least M, hence U. Rollouts price by
U, cut off at 0.
Source: `banihashem:24` (that such a reduction exists, by way of `braverman:24`); this form is derived here.
Guarantee: `welfare_guarantee`.

Letters: `n` nodes, `T` times, `J` types, `R` rollouts.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import prng, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.matching import draws, problems, rollouts, rounding, simulation

__all__ = [
    "MODES", "Info", "Params", "Problem", "Result", "State", "by_time", "choose", "example", "init", "misreport_gain",
    "posted_prices", "run", "step", "validate", "welfare_guarantee",
]  # fmt: skip

#: Roundings that price. Only "closed_form" has a guarantee to inherit.
MODES = ("closed_form", "keep")


class Problem(eqx.Module):
    """A rounding to improve on, and what buyers say their weights are; None: the truth."""

    weights: Float[Array, "n T *J"]
    arrivals: Float[Array, "T *J"]
    rates: Float[Array, "n T *J"]  # in [0, 1]: how often each free node proposes in the rounding that prices
    reports: Float[Array, "n T *J"] | None = None  # >= 0; enters sales, never prices

    @property
    def typed(self) -> bool:
        return self.arrivals.ndim == 2

    @property
    def rounding(self) -> rounding.Problem:
        """What prices are made of: all but the reports."""
        return rounding.Problem(self.weights, self.arrivals, self.rates)


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # times played by one call of `run`
    num_rollouts: int = eqx.field(static=True, default=256)  # for each price; all prices of a time share their draws
    mode: str = eqx.field(static=True, default="closed_form")

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.at_least("Params.num_rollouts", self.num_rollouts, 1)
        checks.one_of("Params.mode", self.mode, MODES)


class State(NamedTuple):
    step: Int[Array, ""]
    free: Bool[Array, " n"]
    welfare: Float[Array, ""]  # true weight sold so far
    revenue: Float[Array, ""]
    key: Key  # the replicate's own


class Info(NamedTuple):
    sold: Int[Array, ""]  # the node, or -1
    arrived: Int[Array, ""]  # the type (0 if Bernoulli), or -1
    welfare: Float[Array, ""]  # true weight of the sale
    payment: Float[Array, ""]  # welfare - payment is the buyer's utility


class Result(NamedTuple):
    welfare: Float[Array, ""]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def welfare_guarantee(problem: Problem, value, price_error=0.0, decrease=0.0):
    """Welfare is at least `value` - 2 `price_error` sum_t P[somebody arrives at t] - 2 `decrease`.

    Args:
      value: of the rounding that prices.
      price_error: bound of E max_i |posted price - exact price| at every time; 0 for `mechanism_exact`.
      decrease: sum over times of `mechanism_exact.largest_decrease` for prices by rollouts; 0 for exact ones.

    Derived here. A sale by prices that are off loses at most twice the error against the best one, prices cut off at 0
    lose at most the decrease, and the best sale is worth what the rounding does, up to what its discards gain: the
    decrease once more.
    """
    return value - 2 * price_error * jnp.sum(problem.arrivals) - 2 * decrease


def choose(prices: Float[Array, "... n"], weights: Float[Array, "... n"]) -> Int[Array, "..."]:
    """What a buyer with these weights takes: the largest weight minus price if it is >= 0, else nothing (-1).

    Nodes of weight 0 are not wanted, even for free. Ties go to the smaller index.
    """
    gains = jnp.where(weights > 0, weights - prices, -jnp.inf)
    best = jnp.max(gains, axis=-1, keepdims=True)
    nodes = jnp.arange(gains.shape[-1], dtype=jnp.int32)
    first = jnp.min(jnp.where(gains == best, nodes, nodes.shape[0]), axis=-1)
    return jnp.where(best[..., 0] >= 0, first, -1)


def misreport_gain(prices: Float[Array, "... n"], weights: Float[Array, "... n"], reports: Float[Array, "... n"]):
    """Utility of a buyer with `weights` who reports `reports`, minus that of an honest one: never positive."""

    def utility(said):
        bought = choose(prices, said)[..., None]
        gain = jnp.take_along_axis(weights - prices, jnp.maximum(bought, 0), axis=-1)
        return jnp.where(bought >= 0, gain, 0)[..., 0]

    return utility(reports) - utility(weights)


def by_time(problem, weights):
    """`[T, J, n]` weights and `[T, J]` arrivals; a Bernoulli problem has one type."""
    arrivals = problem.arrivals if problem.typed else problem.arrivals[:, None]
    weights = jnp.moveaxis(weights, 0, -1) if problem.typed else weights.T[:, None]
    return jnp.broadcast_to(weights, (*arrivals.shape, weights.shape[-1])), arrivals


def posted_prices(
    problem: Problem, params: Params, key: Key, step: Int[Array, ""], free: Bool[Array, " n"]
) -> Float[Array, " n"]:
    """Prices at time `step` by rollouts of the rounding from the next time on; infinite for nodes that are not free.

    Rollout r draws the same arrivals and uniforms whichever node is missing. Depends on weights and rates of later
    times alone.
    """
    return _prices(simulation.prepare(problem.rounding), params, key, step, free)


def _prices(plan, params, key, step, free):
    keys = prng.replicate_keys(prng.stream(key, "rollouts"), params.num_rollouts)
    num_nodes = free.shape[0]
    missing = jnp.concatenate([jnp.zeros((1, num_nodes), bool), jnp.eye(num_nodes, dtype=bool)])
    starts = (free[None] & ~missing).T  # [n, n + 1]
    values = rollouts.values(plan, params.mode, draws.key_words(keys), step + 1, starts)
    worth = jnp.mean(values[:1] - values[1:], axis=1)  # of differences: exactly 0 for a node that changes nothing
    return jnp.where(free, jnp.maximum(worth, 0), jnp.inf)


def validate(problem: Problem) -> None:
    """Raises ValueError naming argument, index and value; traced arrays are checked for their shapes only."""
    rounding.validate(problem.rounding, rounding.Params())
    if problem.reports is not None:
        checks.shape("reports", problem.reports, problem.weights.shape)
        checks.finite("reports", problem.reports)
        checks.at_least("reports", problem.reports, 0)


_validate = validate  # `run` has a flag of the same name


def init(problem: Problem, params: Params, key: Key) -> State:
    """Everybody free before the first time; buyers arrive as in `rounding.run` with the same key."""
    del params
    checks.require(key is not None, "key", "be given unless a state is", key)
    zero = jnp.zeros((), problem.weights.dtype)
    return State(jnp.zeros((), jnp.int32), jnp.ones(problem.weights.shape[0], bool), zero, zero, key)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One time: prices are posted, somebody may arrive and buy. Past the last time nothing happens."""
    return _step(problem, simulation.prepare(problem.rounding), params, state)


def _step(problem, plan, params, state):
    dtype = problem.weights.dtype
    weights, arrivals = by_time(problem, problem.weights)
    said = weights if problem.reports is None else by_time(problem, problem.reports)[0]
    arrivals = arrivals.at[state.step].get(mode="fill", fill_value=0)
    prices = _prices(plan, params, state.key, state.step, state.free).astype(dtype)
    event = draws.event(draws.key_words(prng.stream(state.key, "rounding")), state.step)
    kind = jnp.sum((jnp.cumsum(arrivals.astype(jnp.float32)) <= event.arrival).astype(jnp.int32))
    arrived = kind < arrivals.shape[0]
    kind = jnp.minimum(kind, arrivals.shape[0] - 1)
    bought = jnp.where(arrived, choose(prices, said[state.step, kind]), -1)
    sale = jnp.arange(prices.shape[0]) == bought
    welfare = jnp.sum(jnp.where(sale, weights[state.step, kind], 0))
    payment = jnp.sum(jnp.where(sale, prices, 0))
    free, step = state.free & ~sale, state.step + 1
    after = State(step, free, state.welfare + welfare, state.revenue + payment, state.key)
    return after, Info(bought, jnp.where(arrived, kind, -1), welfare, payment)


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Plays `params.num_steps` times from `state`, or from the start with `key`; O(T^2 n^2 R) for all T.

    Raises: ValueError for bad input, and for more steps than the problem has times left.
    """
    if validate:
        _validate(problem)
    state = init(problem, params, key) if state is None else state
    checks.steps_left(params.num_steps, problem.arrivals.shape[0], state.step, ", the times left")
    return _run(problem, params, state)


@jax.jit
def _run(problem, params, state):
    advance = functools.partial(_step, problem, simulation.prepare(problem.rounding), params)
    state, trace = jax.lax.scan(lambda carry, _: advance(carry), state, length=params.num_steps)
    return Result(state.welfare, state, trace, status.of((state.welfare, trace)))


def example(key: Key) -> tuple[Problem, Params]:
    """Four nodes, eight buyers, sixteen rollouts for each price."""
    instance = problems.er(prng.stream(key, "instance"), 0.8, 4, 8)
    rates = jax.random.uniform(prng.stream(key, "rates"), instance.weights.shape, instance.weights.dtype, 0.1, 0.6)
    return Problem(instance.weights, instance.arrivals, rates), Params(num_steps=8, num_rollouts=16)
