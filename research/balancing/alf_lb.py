"""Auxiliary-loss-free balancing of one batch of fixed scores: route, count, move the bias, again.

Step n routes with p_n, sees A_n, and sets p_{n+1} by the rule of `bias_update`. With a constant step of the sign rule
loads settle in a band (`bounds.settled_load_deviation`) and may cycle in it; proportional steps that shrink reach the
dual's minimum (`bounds.dual_gap_bound`). Exactly equal loads are optimal, and the bias stays there.
Source: `han:25`, the deterministic iteration; `wang:24`, Algorithm 1. Guarantees: `bounds`.

Letters: `N` steps, `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import assignment
from research.balancing.assignment import Problem
from research.balancing.bias_update import BiasState, Rule
from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = [
    "History", "Info", "Params", "Problem", "Result", "State", "example", "history", "init", "run", "step", "validate",
]  # fmt: skip


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # updates by one call of `run`
    rule: Rule = Rule()
    record_switches: bool = eqx.field(static=True, default=False)  # [E, E] counts per step: T E^2 operations each

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)


class State(NamedTuple):
    """Routed already: what a history needs of its last bias is here."""

    step: Int[Array, ""]  # updates done
    memory: BiasState  # p_n and what options remember
    index: Int[Array, "T K"]  # chosen under p_n
    load: Int[Array, " E"]
    value: Float[Array, ""]
    dual: Float[Array, ""]


class Info(NamedTuple):
    """Of step n: the situation under p_n, and what the update to p_{n+1} did."""

    bias: Float[Array, " E"]  # p_n
    load: Int[Array, " E"]  # A_n, in tokens
    value: Float[Array, ""]  # V(p_n)
    dual: Float[Array, ""]  # D(p_n)
    benefit: Float[Array, ""]  # b_n = sum_i b_i >= 0 of the tokens that switch, in score units
    switched: Int[Array, "*E E"]  # tokens that dropped j and picked k; [0, 0] unless recorded


class Result(NamedTuple):
    bias: Float[Array, " E"]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class History(NamedTuple):
    """N + 1 rows: before every update and after the last one."""

    bias: Float[Array, "N+1 E"]
    load: Int[Array, "N+1 E"]
    value: Float[Array, " N+1"]
    dual: Float[Array, " N+1"]
    benefit: Float[Array, " N"]  # row n belongs to the move from row n to row n + 1


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for bad scores or K, see `assignment.validate`."""
    del params
    assignment.validate(problem)


def init(problem: Problem, params: Params, key: Key | None = None, *, bias: Float[Array, " E"] | None = None) -> State:
    """Routed with `bias` (p_0), zero by default; `key` is not used. Raises ValueError for bad input."""
    del key
    validate(problem, params)
    memory = params.rule.init(problem.num_experts, problem.scores.dtype, bias)
    return State(jnp.int32(0), memory, *assignment.assign(problem, memory.bias))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One update of the bias from the loads under it, and the routing under the new bias."""
    memory = params.rule.update(state.memory, state.load, problem.top_k)
    new = State(state.step + 1, memory, *assignment.assign(problem, memory.bias))
    benefit = assignment.exact_sum(assignment.switching_benefit(problem, state.index, memory.bias))
    if params.record_switches:
        switched = assignment.switches(state.index, new.index, problem.num_experts)
    else:
        switched = jnp.zeros((0, 0), jnp.int32)
    return new, Info(state.memory.bias, state.load, state.value, state.dual, benefit, switched)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` updates, from a bias of zero or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.memory.bias, state, trace, status.of(state))


def history(result: Result) -> History:
    """The rows of a run with that of its last bias; of runs batched by `vmap`, rows are on the second axis."""
    trace, last = result.trace, result.state
    axis = jnp.ndim(last.step)

    def rows(name, final):
        return jnp.concatenate([getattr(trace, name), jnp.expand_dims(final, axis)], axis=axis)

    return History(
        rows("bias", last.memory.bias),
        rows("load", last.load),
        rows("value", last.value),
        rows("dual", last.dual),
        trace.benefit,
    )


def example(key: Key) -> tuple[Problem, Params]:
    """Uniform scores of 24 tokens and four experts, two for each; sixteen proportional steps."""
    scores = jax.random.uniform(key, (24, 4))
    return Problem(scores, 2), Params(num_steps=16, rule=Rule("prop", "inv_sqrt", step_size=0.3))
