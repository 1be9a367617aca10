"""Policies that sell at posted prices: an arrival takes the free node with the largest w - price, if that is >= 0.

  `greedy`:           price 0: the heaviest free node.
  `threshold_greedy`: greedy among edges heavier than a constant.
  `fgl`:              static prices, half of what the ex-ante optimum earns with the node; 1/2 of the ex-ante LP.
  `bid_price`:        the node's continuation value V_{i,t+1} in the relaxation; no ratio is claimed.
The 1/2-approximation by single offers is mode "single" of `rounding` with `rates.half_rates`. Same arrivals as
`rounding.run` for the same key.
Source: `feldman:15` (static prices); `braverman:24` for what they are compared with.

Letters: `n` offline nodes, `T` times, `J` types.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.matching import draws, exact_law, problems
from research.matching.rounding import Info, Result, State

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "bid_price", "choices", "example", "fgl", "greedy", "init", "run",
    "step", "threshold_greedy", "validate",
]  # fmt: skip


class Problem(eqx.Module):
    """An instance as in `problems.Problem` with a price for every node, at every time or once for all."""

    weights: Float[Array, "n T *J"]
    arrivals: Float[Array, "T *J"]
    prices: Float[Array, "n T"]  # or [n, 1]

    @property
    def typed(self) -> bool:
        return self.arrivals.ndim == 2


class Params(eqx.Module):
    num_steps: int | None = eqx.field(static=True, default=None)  # played by one call of `run`; None: all T

    def __check_init__(self):
        if self.num_steps is not None:
            checks.at_least("Params.num_steps", self.num_steps, 1)


def greedy(problem: problems.Problem) -> Problem:
    """The heaviest free node."""
    return Problem(problem.weights, problem.arrivals, jnp.zeros((problem.num_offline, 1), problem.weights.dtype))


def threshold_greedy(problem: problems.Problem, least: float | Float[Array, ""]) -> Problem:
    """The heaviest free node among edges with weight above `least`."""
    heavy = jnp.where(problem.weights > least, problem.weights, 0)
    return greedy(problems.Problem(heavy, problem.arrivals))


def fgl(problem: problems.Problem, x: Float[Array, "n T *J"]) -> Problem:
    """Prices 1/2 sum_t w_it x_it with `x` optimal for the ex-ante LP: at least half of that LP."""
    earned = jnp.sum(problem.weights * x, axis=tuple(range(1, x.ndim)))
    return Problem(problem.weights, problem.arrivals, (earned / 2).astype(problem.weights.dtype)[:, None])


def bid_price(problem: problems.Problem, values: Float[Array, "n T+1"]) -> Problem:
    """Prices V_{i,t+1}, from the best multipliers of `relaxation`."""
    checks.shape("values", values, (problem.num_offline, problem.num_steps + 1))
    return Problem(problem.weights, problem.arrivals, jnp.asarray(values[:, 1:], problem.weights.dtype))


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError naming argument, index and value; traced arrays are checked for their shapes only."""
    del params
    problems.validate(problems.Problem(problem.weights, problem.arrivals))
    shapes = ((problem.weights.shape[0], problem.arrivals.shape[0]), (problem.weights.shape[0], 1))
    checks.require(
        np.shape(problem.prices) in shapes, "prices", f"have shape {shapes[0]} or {shapes[1]}", problem.prices.shape
    )
    checks.finite("prices", problem.prices)


_validate = validate  # `run` has a flag of the same name


def init(problem: Problem, params: Params, key: Key) -> State:
    """Everybody free before the first time; `key` is the replicate's own."""
    del params
    free = jnp.ones(problem.weights.shape[0], bool)
    return State(jnp.zeros((), jnp.int32), free, jnp.zeros((), problem.weights.dtype), prng.stream(key, "rounding"))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One time: who arrives, and what they buy. Past the last time nothing happens."""
    del params
    return _play(_time(problem, state.step), state)


def _time(problem, index):
    """Weights `[J, n]`, arrival probabilities `[J]` and prices `[n]` of one time; nobody arrives past the end."""

    def row(array, axis):
        at = jnp.moveaxis(array, axis, 0)
        return at[0] if at.shape[0] == 1 else at.at[index].get(mode="fill", fill_value=0)

    weights = row(problem.weights, 1)
    arrivals = problem.arrivals.at[index].get(mode="fill", fill_value=0)
    if not problem.typed:
        weights, arrivals = weights[:, None], arrivals[None]
    return weights.T, arrivals, row(problem.prices, 1)


def _buy(weights, prices, free):
    """The node bought, or -1; ties go to the smaller index, and edges of weight 0 are never used."""
    gains = jnp.where(free & (weights > 0), weights - prices, -jnp.inf)
    best = jnp.max(gains)
    node = jnp.min(jnp.where(gains == best, jnp.arange(gains.shape[0], dtype=jnp.int32), gains.shape[0]))
    return jnp.where(best >= 0, node, -1)


def _play(time, state):
    weights, arrivals, prices = time
    arrived, kind = draws.arrival(draws.event(draws.key_words(state.key), state.step), arrivals)
    node = jnp.where(arrived, _buy(weights[kind], prices, state.free), -1)
    reward = jnp.where(node >= 0, weights[kind, node], 0)
    free = state.free & (jnp.arange(state.free.shape[0]) != node)
    info = Info(node, jnp.where(arrived, kind, -1), reward)
    return State(state.step + 1, free, state.value + reward, state.key), info


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Plays `params.num_steps` times (all of them if None) from `state`, or from the start with `key`.

    Raises: ValueError for bad input, and for more steps than the problem has times left.
    """
    if state is None:
        checks.require(key is not None, "key", "be given unless a state is", None)
        state = init(problem, params, key)
    if validate:
        _validate(problem, params)
    num_steps = problem.arrivals.shape[0] if params.num_steps is None else params.num_steps
    checks.steps_left(num_steps, problem.arrivals.shape[0], state.step, ", the times left")
    return _run(problem, state, num_steps)


@functools.partial(jax.jit, static_argnames="num_steps")
def _run(problem, state, num_steps):
    def play(state, _):
        return _play(_time(problem, state.step), state)

    state, trace = jax.lax.scan(play, state, length=num_steps)
    return Result(state.value, state, trace, status.of((state.value, trace.reward)))


def choices(problem: Problem) -> Int[Array, "T S *J"]:
    """What is bought at every time, from every free set, by every type: a table for `exact_law.law_of_choices`."""
    inside = jnp.asarray(exact_law.membership(problem.weights.shape[0]))

    def at(index):
        weights, _, prices = _time(problem, index)
        bought = jax.vmap(lambda free: jax.vmap(lambda w: _buy(w, prices, free))(weights))(inside)
        return bought if problem.typed else bought[:, 0]

    return jax.vmap(at)(jnp.arange(problem.arrivals.shape[0]))


def example(key: Key) -> tuple[Problem, Params]:
    """Six nodes, ten arrivals, random prices."""
    instance = problems.er(prng.stream(key, "instance"), 0.7, 6, 10)
    prices = jax.random.uniform(prng.stream(key, "prices"), (6, 10), instance.weights.dtype, 0.0, 0.5)
    return Problem(instance.weights, instance.arrivals, prices), Params(num_steps=10)
