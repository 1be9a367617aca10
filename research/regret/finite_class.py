"""Baselines on a finite hypothesis class: one sleeping expert for every pair of a group and a hypothesis.

A pair (g, f) is awake when group g is active and has the loss of hypothesis f. `blum_lykouris` runs AdaNormalHedge on
the pairs; `multiplicative_weights` weighs an awake pair by exp(eta R) with a fixed eta, the closed form of the online
multiobjective algorithm for these constraints. Both cost O(G K) per round, which an oracle-efficient learner avoids.
Source: `blum:20`; `lee:22`. Guarantees: `regret_bound`, `hoeffding_bound`, `multiobjective_bound`.

Shape letters: `T` rounds, `G` groups, `K` hypotheses.
"""

import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.regret import _streams, aggregating, sleeping_experts

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "example", "hoeffding_bound", "init", "multiobjective_bound",
    "regret_bound", "run", "step", "step_size", "validate",
]  # fmt: skip

Method = Literal["blum_lykouris", "multiplicative_weights"]
_METHODS = ("blum_lykouris", "multiplicative_weights")


class Problem(eqx.Module):
    """Losses of `K` fixed hypotheses over `T` rounds, and which of `G` groups are active."""

    losses: Float[Array, "T K"]  # in [0, 1]
    awake: Float[Array, "T G"]  # 0 or 1


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # rounds played by one call of `run`
    method: Method = eqx.field(static=True, default="blum_lykouris")
    step_size: Float[Array, ""] | float | None = None  # eta > 0 of multiplicative weights; None: see `step_size`

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.method", self.method, _METHODS)


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done; selects the next row of the problem
    regret: Float[Array, "G K"]  # against each hypothesis on the rounds of each group
    cumulative: Float[Array, "G K"]  # sum of the absolute values of the same terms


class Info(NamedTuple):
    loss: Float[Array, ""]  # expected loss of a hypothesis drawn from `probabilities`
    probabilities: Float[Array, " K"]  # summed over the groups


class Result(NamedTuple):
    regret: Float[Array, "G K"]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def _num_pairs(problem):
    return problem.awake.shape[-1] * problem.losses.shape[-1]


def step_size(problem, params):
    """eta of multiplicative weights: `params.step_size`, or sqrt(2 ln(G K) / T) with all `T` rounds of the problem."""
    if params.step_size is not None:
        return params.step_size
    return math.sqrt(2 * math.log(_num_pairs(problem)) / problem.losses.shape[0])


def regret_bound(problem, params, state):
    """Upper bound of every entry of `state.regret`, `[G, K]`, for losses in [0, 1] and any groups.

    `blum_lykouris`: `sleeping_experts.regret_bound` with prior 1/(G K). `multiplicative_weights`: ln(G K)/eta + eta t/2
    after t rounds, that is sqrt(2 T ln(G K)) at the end with the default eta: all rounds count, not the group's alone.
    Source: `luo:15`, Theorem 1; `lee:22` with the constant of this closed form.
    """
    if params.method == "blum_lykouris":
        cumulative = state.cumulative.reshape(-1)
        prior = jnp.full_like(cumulative, 1 / cumulative.size)
        return sleeping_experts.regret_bound(prior, cumulative).reshape(state.cumulative.shape)
    return _exponential_weights_bound(problem, params, state, curvature=1 / 2)


def hoeffding_bound(problem, params, state):
    """ln(G K)/eta + eta t/8, `[G, K]`: the bound of multiplicative weights that uses Hoeffding's lemma.

    A round's regrets lie in an interval of length 1, not 2, so their exponential moment is at most exp(eta^2 / 8). With
    eta = sqrt(8 ln(G K) / T) it is sqrt(T ln(G K) / 2), half of `regret_bound` at its own best eta.
    Raises ValueError for another `params.method`.
    """
    checks.one_of("Params.method", params.method, ("multiplicative_weights",))
    return _exponential_weights_bound(problem, params, state, curvature=1 / 8)


def _exponential_weights_bound(problem, params, state, curvature):
    log_pairs, rounds = math.log(_num_pairs(problem)), problem.losses.shape[0]
    if params.step_size is None:  # ln(G K)/eta in a form that holds for a single pair too
        bound = math.sqrt(log_pairs * rounds / 2) + curvature * step_size(problem, params) * state.step
    else:
        bound = log_pairs / params.step_size + curvature * params.step_size * state.step
    return jnp.broadcast_to(jnp.asarray(bound, state.regret.dtype), state.regret.shape)


def multiobjective_bound(num_rounds, num_pairs, scale=1.0):
    """4 C sqrt(T ln N) for N = G K pairs, losses in [0, C], T >= ln N and eta = sqrt(ln N / (4 T C^2)).

    The general guarantee of the online multiobjective algorithm, looser here than `hoeffding_bound`.
    Source: `lee:22`. Raises ValueError if T < ln N.
    """
    checks.at_least("num_rounds", num_rounds, math.log(num_pairs))
    return 4 * scale * math.sqrt(num_rounds * math.log(num_pairs))


def validate(problem, params):
    """Raises ValueError naming argument, value and range; traced arrays are skipped. `run` calls it by default."""
    losses, awake = problem.losses, problem.awake
    checks.shape("losses", losses, (None, None))
    checks.shape("awake", awake, (losses.shape[0], None))
    checks.at_least("number of rounds", losses.shape[0], 1)
    checks.at_least("number of hypotheses", losses.shape[1], 1)
    checks.at_least("number of groups", awake.shape[1], 1)
    checks.in_range("losses", losses, 0.0, 1.0)
    checks.binary("awake", awake)
    if params.step_size is not None:
        checks.positive("Params.step_size", params.step_size)
    _streams.require_rows(losses.shape[0], params.num_steps)


_validate = validate  # `run` has a flag of the same name


def init(problem, params, key=None) -> State:
    """Round zero; `params` and `key` are not used."""
    del params, key
    dtype = jnp.result_type(problem.losses, jnp.float32)
    zeros = jnp.zeros((problem.awake.shape[-1], problem.losses.shape[-1]), dtype)
    return State(jnp.zeros((), jnp.int32), zeros, jnp.zeros_like(zeros))


def _probabilities(problem, params, state, awake):
    """`[G, K]`: proportional to the weight on awake pairs; uniform when no group is active. `awake [G]` boolean."""
    pairs = jnp.broadcast_to(awake[:, None], state.regret.shape)
    if params.method == "blum_lykouris":
        anyone = jnp.any(awake)
        log_mass = jnp.where(pairs | ~anyone, 0.0, -jnp.inf).astype(state.regret.dtype)
        return sleeping_experts.weigh(sleeping_experts.Masses(log_mass, anyone), state.regret, state.cumulative)
    uniform = jnp.ones_like(state.regret)
    return aggregating.probabilities(uniform, pairs, step_size(problem, params) * state.regret)


def step(problem, params, state):
    """One round on row `state.step` of the problem: weigh the pairs, suffer, update.

    Returns the new state and `Info(loss=[], probabilities=[K])`. When no group is active the uniform mixture is played,
    its loss is counted and only the step counter changes. Past the last row the loss is NaN and the regrets stay.
    """
    awake = _streams.row(problem.awake, state.step, fill=0) > 0
    losses = _streams.row(problem.losses, state.step, fill=jnp.nan).astype(state.regret.dtype)
    by_hypothesis = jnp.sum(_probabilities(problem, params, state, awake), axis=0)
    loss = jnp.sum(by_hypothesis * losses)
    pairs = jnp.broadcast_to(awake[:, None], state.regret.shape)
    meta = sleeping_experts.MetaState(state.regret, state.cumulative)
    meta = sleeping_experts.update(meta, pairs, loss, jnp.broadcast_to(losses[None, :], state.regret.shape))
    return State(state.step + 1, meta.regret, meta.cumulative), Info(loss, by_hypothesis)


def run(problem, params, key=None, *, state=None, validate=True) -> Result:
    """Plays `params.num_steps` rounds from `state.step` (0 without a state); pass `state` to continue exactly.

    Args:
      problem: `Problem` with `T` rounds, `G` groups and `K` hypotheses.
      key: not used.
      validate: check concrete inputs first (see `validate` of this module); inside jit there is nothing to check.
    Returns: `Result`; `status` is NONFINITE after a non-finite loss, or rounds past the end.
    Raises: ValueError for bad input, and for more rounds than the problem has left.
    """
    state = init(problem, params, key) if state is None else state
    if validate:
        _validate(problem, params)
        _streams.require_rows(problem.losses.shape[0], params.num_steps, state.step)
    return _run(problem, params, state)


@jax.jit
def _run(problem, params, state):
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.regret, state, trace, status.of((state, trace)))


def example(key: Key) -> tuple[Problem, Params]:
    """Three hypotheses, two groups, sixteen rounds of random losses and activity."""
    losses_key, awake_key = jax.random.split(key)
    losses = jax.random.uniform(losses_key, (16, 3))
    awake = jax.random.bernoulli(awake_key, 0.6, (16, 2)).astype(losses.dtype)
    return Problem(losses, awake), Params(num_steps=16)
