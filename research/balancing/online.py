"""Auxiliary-loss-free balancing of fresh scores: every step routes T new tokens and moves the bias by their loads.

Stochastic subgradient steps on f of `population`: A / T - K / E estimates its gradient, whatever the rule makes of it.
Regret_N = sum_{n=1..N} f(p_{n-1}) - f(p*). Proportional steps of 1 / (mu n) have logarithmic regret; what other
schedules cost is in `regret_bounds`.
Source: `han:25`, the online analysis. Guarantees: `regret_bounds`.

Letters: `N` steps, `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import metrics, population
from research.balancing.bias_update import BiasState, Rule
from research.balancing.gumbel_router import GumbelRouter
from research.balancing.score_models import Independent, ScoreModel
from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = [
    "EXCESSES", "Info", "Params", "Problem", "Result", "State", "example", "excess", "init", "problem_of", "run",
    "step", "validate",
]  # fmt: skip

#: How f(p) - f(p*) is found: exactly, by its second-order expansion, or not at all (zeros).
EXCESSES = ("exact", "quadratic", "none")


class Problem(eqx.Module):
    """A model of scores with the minimum of its f; made by `problem_of`."""

    model: ScoreModel
    minimiser: Float[Array, " E"]  # p*
    optimum: Float[Array, ""]  # f(p*), in score units per token
    hessian: Float[Array, "E E"]  # of f at p*
    top_k: int = eqx.field(static=True)  # K

    @property
    def num_experts(self) -> int:
        return self.model.num_experts


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # updates by one call of `run`
    num_tokens: int = eqx.field(static=True, default=256)  # T
    rule: Rule = Rule("prop", "inv")
    excess: str = eqx.field(static=True, default="exact")  # of EXCESSES
    num_nodes: int = eqx.field(static=True, default=257)  # of the quadrature of "exact"; Gumbel needs none

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.at_least("Params.num_tokens", self.num_tokens, 1)
        checks.at_least("Params.num_nodes", self.num_nodes, 2)
        checks.one_of("Params.excess", self.excess, EXCESSES)


class State(NamedTuple):
    step: Int[Array, ""]  # updates done
    key: Key
    memory: BiasState  # p_n
    regret: Float[Array, ""]  # in score units, summed over the steps


class Info(NamedTuple):
    """Of the step that routed with p_{n-1}."""

    bias: Float[Array, " E"]  # p_{n-1}
    load: Int[Array, " E"]  # of its tokens
    max_violation: Float[Array, ""]  # MaxVio of this batch
    excess: Float[Array, ""]  # f(p_{n-1}) - f(p*), in score units per token
    regret: Float[Array, ""]  # Regret_n


class Result(NamedTuple):
    regret: Float[Array, ""]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def problem_of(model: ScoreModel, top_k: int = 1, *, num_nodes: int = population.NODES) -> Problem:
    """The problem of a model, with its minimum: in closed form or by Newton's method.

    Raises:
      ValueError for a model without densities (`Clustered`: its regret is that of no independent tokens), K out of
      range, or a Gumbel router with K > 1; on concrete values also where Newton's method did not end.
    """
    if isinstance(model, GumbelRouter):
        checks.require(top_k == 1, "top_k", "be 1", top_k)
        found = model.minimum()
    else:
        checks.require(
            isinstance(model, Independent), "model", "be Independent or a GumbelRouter", type(model).__name__
        )
        found = population.minimum(model, top_k, num_nodes=num_nodes)
        if checks.is_concrete(found.converged):
            steps = f"none after {int(found.steps)} steps"
            checks.require(bool(found.converged), "model", "have a bias that balances it", steps)
    return Problem(model, found.bias, found.value, found.hessian, top_k)


def excess(problem: Problem, bias: Float[Array, " E"], kind: str = "exact", num_nodes: int = 257) -> Float[Array, ""]:
    """f(p) - f(p*) >= 0. Exact values of other models than Gumbel's are differences of f: take float64 for small ones.

    "quadratic" is (p - p*)' H (p - p*) / 2, which is what the leading orders of `regret_bounds` are about.
    """
    checks.one_of("kind", kind, EXCESSES)
    if kind == "none":
        return jnp.zeros((), bias.dtype)
    if kind == "quadratic":
        away = bias - problem.minimiser
        return 0.5 * away @ (problem.hessian @ away)
    if isinstance(problem.model, GumbelRouter):
        return problem.model.excess(bias)
    return population.objective(problem.model, bias, problem.top_k, num_nodes=num_nodes) - problem.optimum


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for K out of range, fewer than two experts, or minima of another shape."""
    del params
    checks.at_least("number of experts", problem.num_experts, 2)
    checks.in_range("top_k", problem.top_k, 1, problem.num_experts)
    checks.shape("minimiser", problem.minimiser, (problem.num_experts,))
    checks.shape("hessian", problem.hessian, (problem.num_experts,) * 2)


def init(problem: Problem, params: Params, key: Key | None = None, *, bias: Float[Array, " E"] | None = None) -> State:
    """At `bias` (p_0), zero by default. Raises ValueError without a key, which draws the tokens."""
    checks.require(key is not None, "key", "be a PRNG key (tokens are drawn)", key)
    validate(problem, params)
    dtype = problem.minimiser.dtype
    memory = params.rule.init(problem.num_experts, dtype, bias)
    return State(jnp.int32(0), key, memory, jnp.zeros((), dtype))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """T fresh tokens under the bias of before, and the update by their loads."""
    bias = state.memory.bias
    load = problem.model.sample_load(prng.per_step(state.key, state.step), bias, params.num_tokens, problem.top_k)
    lost = excess(problem, bias, params.excess, params.num_nodes)
    regret = state.regret + lost
    memory = params.rule.update(state.memory, load, problem.top_k)
    violation = metrics.max_violation(load).astype(bias.dtype)
    return State(state.step + 1, state.key, memory, regret), Info(bias, load, violation, lost, regret)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` steps, from a bias of zero or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.regret, state, trace, status.of((state.memory, state.regret)))


def example(key: Key) -> tuple[Problem, Params]:
    """A Gumbel router of four experts at random locations, 32 tokens a step; 16 steps."""
    rule = Rule("prop", "inv_offset", step_size=4.0, offset=4.0)
    return problem_of(GumbelRouter(0.3 * jax.random.normal(key, (4,)))), Params(16, num_tokens=32, rule=rule)
