"""Fair allocation of indivisible items that arrive one by one: every agent shall get her maximin share, up to a ratio.

Agent i values item e at v_i(e) >= 0, her values of all items sum to 1 (that sum is all an algorithm knows ahead), and
item e must be given away for good before the next one is seen. Her maximin share MMS_i is what she can secure by
cutting all items into n bundles and keeping the worst of them. Goods: the ratio is min_i v_i(X_i) / MMS_i, at most 1
for the strictest; chores (values are costs): max_i v_i(X_i) / MMS_i. Bounds used throughout: for goods MMS_i <= 1/n,
and MMS_i <= 1 - max_e v_i(e) for two agents; for chores MMS_i >= max(1/n, max_e v_i(e)).

Source: `zhou:23` for the model and the ratios 1/2 (two agents, goods), sqrt 2 (two agents, chores) and 2 - 1/n
(chores). Only its abstract was used: the three rules below are our own and reach those ratios by the proofs next to
them, so that they need not be the paper's rules. `graham:66` for list scheduling. Guarantee: `guarantee`.

Shape letters: `T` items, `n` agents.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = [
    "RULES", "Info", "Params", "Problem", "Result", "State", "example", "guarantee", "impossibility", "init",
    "loads", "run", "step", "validate",
]  # fmt: skip

#: "two_goods", "two_chores" for two agents; "chores" for any number; "least_loaded" for agents with equal values.
RULES = ("two_goods", "two_chores", "chores", "least_loaded")
#: How far an agent's values may sum from 1.
SUM_TOLERANCE = 1e-5
_NOBODY = -1


class Problem(eqx.Module):
    """Items in order of arrival. An item that nobody values (a row of zeros) changes no load: padding is free."""

    values: Float[Array, "T n"]  # >= 0; every column sums to 1
    chores: bool = eqx.field(static=True, default=False)  # values are costs

    @property
    def num_agents(self) -> int:
        return self.values.shape[1]


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # items given away by one call of `run`
    rule: str = eqx.field(static=True, default="two_goods")  # one of RULES

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.rule", self.rule, RULES)


class State(NamedTuple):
    step: Int[Array, ""]  # items done
    worth: Float[Array, "n n"]  # worth[i, k] = v_i(X_k): the load of agent i is on the diagonal
    largest: Float[Array, " n"]  # max of v_i(e) over the items so far
    taker: Int[Array, ""]  # who gets everything from now on; -1 while that is open


class Info(NamedTuple):
    agent: Int[Array, ""]  # who got the item
    load: Float[Array, " n"]  # v_i(X_i) after it


class Result(NamedTuple):
    load: Float[Array, " n"]  # v_i(X_i)
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def guarantee(rule, num_agents, *, chores):
    """The ratio that `rule` never misses: at least this for goods, at most this for chores.

    two_goods 1/2, two_chores sqrt 2, chores 2 - 1/n: for any values; proofs beside the rules; the same ratios as
    `zhou:23`, abstract. least_loaded, for equal values only: chores 2 - 1/n (`graham:66`); goods 1/n: take the last
    item away from every other agent, and n bundles of at most the smallest load remain, hence n times it in all;
    n - 1 items gone, one bundle of the best partition is untouched and is worth no more than that.
    Raises: ValueError for an unknown rule, for goods under a rule for chores and the reverse, for agents not two.
    """
    _require_fit(rule, num_agents, chores)
    if rule == "two_goods":
        return 0.5
    if rule == "two_chores":
        return math.sqrt(2)
    return 2 - 1 / num_agents if chores else 1 / num_agents


def impossibility(num_agents, *, chores):
    """What no deterministic online rule can beat, or None where `zhou:23`, abstract, states nothing.

    Goods: 1/2 for two agents, 0 (no competitive rule) for more. Chores: 15/11 for two agents.
    """
    if chores:
        return 15 / 11 if num_agents == 2 else None
    return 0.5 if num_agents == 2 else 0.0


def loads(state):
    """`[n]`: what each agent thinks of her own bundle."""
    return jnp.diagonal(state.worth)


def _two_goods(state, item):
    """Each item to whoever values it more, until an agent has 1/4; the rest to the other one. Ratio 1/2.

    Write x_i = v_i(X_i), y_i = v_i(X_j), before the item with values (a, b) that would lift agent 1 (a >= b) to 1/4.
    So far x_1 >= y_2, x_2 >= y_1 and all are below 1/4. Agent 1 is then content (MMS <= 1/2) and agent 2 ends with
    1 - y_2 - b. That is at least half of 1 - b >= MMS_2 iff b <= 1 - 2 y_2. Otherwise b > 1/2: the item alone contents
    agent 2, gets it, and agent 1 gets the rest, 1 - y_1 - a. Since b <= 1 - y_2 - x_2 we had x_2 < y_2 and therefore
    x_1 > y_1 (add the two inequalities above), so a <= 1 - x_1 - y_1 <= 1 - 2 y_1 contents agent 1 likewise.
    Somebody reaches 1/4, for otherwise x_1 + y_1 < 1/2 in the end.
    """
    wants = jnp.where(item[0] >= item[1], 0, 1)
    other = 1 - wants
    served = loads(state)[wants] + item[wants] >= 0.25
    starves = item[other] > 1 - 2 * state.worth[other, wants]
    agent = jnp.where(served & starves, other, wants)
    return agent, jnp.where(served, 1 - agent, _NOBODY)


def _two_chores(state, item):
    """Items go to agent 1 if she minds them at most sqrt 2 times as much as agent 2; ratio sqrt 2.

    Let c = 1 - 1/sqrt 2. The rule commits the rest to agent i as soon as y_i >= c: her cost is then at most
    1 - c = sqrt 2 / 2 <= sqrt 2 MMS_i. Until then y_1, y_2 < c, x_1 <= sqrt 2 y_2 and x_2 <= y_1 / sqrt 2 <
    (sqrt 2 - 1) / 2, so that agent 2 can take any item: x_2 + b <= sqrt 2 max(1/2, b). If agent 1 should get an
    item that would cost her more than sqrt 2 max(1/2, largest item) in all, then a > sqrt 2 / 2 - sqrt 2 c = c:
    agent 2 takes it instead, y_1 >= c, and agent 1 gets the rest.
    """
    cut = 1 - math.sqrt(0.5)
    ceiling = math.sqrt(2) * jnp.maximum(0.5, jnp.maximum(state.largest[0], item[0]))
    first = (item[0] <= math.sqrt(2) * item[1]) & (state.worth[0, 0] + item[0] <= ceiling)
    agent = jnp.where(first, 0, 1)
    other = 1 - agent
    return agent, jnp.where(state.worth[other, agent] + item[other] >= cut, other, _NOBODY)


def _chores(state, item):
    """Each item to whoever minds it least among agents below (n-1)/n^2; the last one below gets the rest. 2 - 1/n.

    An agent who passes the cut ends with at most (n-1)/n 1/n + max_e v_i(e) <= (2 - 1/n) MMS_i. The last one, j, saw
    every item of the others go to somebody who minded it no more than she did, so v_j(X_i) >= (n-1)/n^2 for each of
    the n - 1 others, and she ends with at most 1 - (n-1)^2/n^2 = (2 - 1/n)/n <= (2 - 1/n) MMS_j.
    """
    n = item.shape[0]
    cut = (n - 1) / n**2
    below = loads(state) < cut
    agent = jnp.argmin(jnp.where(below, item, jnp.inf))
    below = below & ((jnp.arange(n) != agent) | (loads(state) + item < cut))
    return agent, jnp.where(jnp.sum(below) == 1, jnp.argmax(below), _NOBODY)


def _least_loaded(state, item):
    """List scheduling: each item to the agent who has least in her own eyes. Guarantee for equal values only."""
    del item
    return jnp.argmin(loads(state)), _NOBODY


_CHOOSE = {"two_goods": _two_goods, "two_chores": _two_chores, "chores": _chores, "least_loaded": _least_loaded}


def _require_fit(rule, num_agents, chores):
    checks.one_of("rule", rule, RULES)
    checks.at_least("number of agents", num_agents, 2)
    if rule in ("two_goods", "two_chores"):
        checks.require(num_agents == 2, "number of agents", f"be 2 for {rule}", num_agents)
    if rule != "least_loaded":
        allowed = f"be {rule != 'two_goods'} for {rule}"
        checks.require(chores == (rule != "two_goods"), "Problem.chores", allowed, chores)


def validate(problem, params):
    """Raises ValueError naming argument, index and value; traced arrays are skipped. `run` calls it by default."""
    values = problem.values
    checks.shape("values", values, (None, None))
    checks.at_least("number of items", values.shape[0], 1)
    _require_fit(params.rule, problem.num_agents, problem.chores)
    checks.in_range("values", values, 0.0, 1.0)
    if checks.is_concrete(values):
        sums = np.asarray(values, np.float64).sum(axis=0)
        checks.in_range("sum of each agent's values", sums, 1 - SUM_TOLERANCE, 1 + SUM_TOLERANCE)
    allowed = f"be <= {values.shape[0]}, the number of items"
    checks.require(params.num_steps <= values.shape[0], "Params.num_steps", allowed, params.num_steps)


def init(problem, params, key=None) -> State:
    """Nobody has anything; `params` and `key` are not used."""
    del params, key
    n, dtype = problem.num_agents, jnp.result_type(problem.values)
    return State(jnp.int32(0), jnp.zeros((n, n), dtype), jnp.zeros((n,), dtype), jnp.int32(_NOBODY))


def step(problem, params, state) -> tuple[State, Info]:
    """Gives item `state.step` away; past the last one the item is NaN, which the status reports."""
    item = jnp.asarray(problem.values).at[state.step].get(mode="fill", fill_value=jnp.nan)
    agent, taker = _CHOOSE[params.rule](state, item)
    committed = state.taker >= 0
    agent = jnp.where(committed, state.taker, agent).astype(jnp.int32)
    taker = jnp.where(committed, state.taker, taker).astype(jnp.int32)
    worth = state.worth.at[:, agent].add(item)
    new = State(state.step + 1, worth, jnp.maximum(state.largest, item), taker)
    return new, Info(agent, loads(new))


_validate = validate  # `run` has a flag of the same name


def run(problem, params, key=None, *, state=None, validate=True) -> Result:
    """Gives `params.num_steps` items away, from `state.step` on (0 without a state); pass `state` to continue exactly.

    Args:
      problem: items and their values; the whole sequence is given, the rules look at one item at a time.
      key: not used; every rule is deterministic, ties go to the agent with the smaller index.
      validate: check concrete inputs first; inside jit there is nothing to check.
    Raises: ValueError for bad input.
    """
    if validate:
        _validate(problem, params)
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(loads(state), state, trace, status.of(state))


def example(key: Key) -> tuple[Problem, Params]:
    """Two agents, twelve goods, values uniform before they are normalised."""
    values = jax.random.uniform(key, (12, 2))
    return Problem(values / jnp.sum(values, axis=0, keepdims=True)), Params(num_steps=12)
