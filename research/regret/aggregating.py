"""The specialist Aggregating Algorithm and exponentially weighted averaging for the squared loss on [0, 1].

Experts predict, some of them sleep. Weights live in log space and are never renormalised: their total stays what the
prior made it, and the relative mass of the sleepers is part of the algorithm. Squared loss on [0, 1] is 2-mixable (rule
"aa") and 1/2-exp-concave (rule "ewa"), so the regret against an expert over its awake rounds is at most a constant,
`regret_bound`, where AdaNormalHedge pays a square root of time.
Source: `freund:97`, specialists; `vovk:98`, the Aggregating Algorithm and the square-loss substitution function.

Shape letters: `T` rounds, `N` experts.
"""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.regret import _streams

__all__ = [
    "LEARNING_RATE", "Info", "Params", "Problem", "Result", "RoundTerms", "State", "certificate", "example", "forecast",
    "init", "log_evidence", "play", "probabilities", "regret_bound", "round_terms", "run", "step", "substitution",
    "update", "validate",
]  # fmt: skip

Rule = Literal["aa", "ewa"]

#: eta: the largest rate at which the square loss on [0, 1] is mixable ("aa") or exp-concave ("ewa").
LEARNING_RATE = {"aa": 2.0, "ewa": 0.5}


class Problem(eqx.Module):
    """Predictions of `N` experts over `T` rounds.

    Those of sleeping experts are ignored and may be NaN, except in a round where nobody is awake: its forecast mixes
    all of them by the prior.
    """

    predictions: Float[Array, "T N"]  # in [0, 1]
    labels: Float[Array, " T"]  # in [0, 1]
    awake: Float[Array, "T N"]  # 0 or 1
    prior: Float[Array, " N"]  # > 0, sums to 1


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # rounds played by one call of `run`
    rule: Rule = eqx.field(static=True, default="aa")

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.rule", self.rule, tuple(LEARNING_RATE))


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done; selects the next row of the problem
    log_weights: Float[Array, " N"]  # start at ln(prior); the sum of their exponentials stays 1


class Info(NamedTuple):
    loss: Float[Array, ""]  # (prediction - label)^2
    prediction: Float[Array, ""]  # in [0, 1]
    probabilities: Float[Array, " N"]


class Result(NamedTuple):
    regret_bound: Float[Array, " N"]  # `certificate`: the realised bound on the regret against each expert
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class RoundTerms(NamedTuple):
    """What a round needs that is known without the weights: computed for all rounds at once, outside the scan."""

    awake: Bool[Array, "*rounds N"]
    anyone: Bool[Array, "*rounds"]  # somebody is awake
    log_likelihood: Float[Array, "*rounds N"]  # -eta (prediction - label)^2; 0 on sleepers
    likelihood: Float[Array, "*rounds N"]  # its exponential
    mixed: tuple[Float[Array, "*rounds N"], ...]  # to be averaged: exp(-eta (f - z)^2) at z = 0 and 1 ("aa"); f ("ewa")


def probabilities(prior, awake, log_weights):
    """Weights normalised over the awake experts, `[N]`; the prior when nobody is awake. All arguments `[N]`."""
    awake = awake > 0
    return _normalised(prior, awake, jnp.any(awake), log_weights)


def _normalised(prior, awake, anyone, log_weights):
    score = jnp.where(awake, log_weights, -jnp.inf)
    score = jnp.where(anyone, score, jnp.log(prior))
    unnormalised = jnp.exp(score - jax.lax.stop_gradient(jnp.max(score)))
    return unnormalised / jnp.sum(unnormalised)


def _mixed(predictions, rule):
    rate = LEARNING_RATE[rule]
    if rule == "aa":
        return jnp.exp(-rate * predictions**2), jnp.exp(-rate * (1 - predictions) ** 2)
    return (predictions,)


def _forecast(probabilities, mixed, rule):
    averages = [jnp.sum(probabilities * m) for m in mixed]
    if rule == "ewa":
        return averages[0]
    at_zero, at_one = averages
    # (g(0) - g(1)) / 2 with g(z) = -ln(average) / eta; every average is at least exp(-eta), so the logarithms are tame.
    return jnp.clip(0.5 + (jnp.log(at_one) - jnp.log(at_zero)) / (2 * LEARNING_RATE[rule]), 0.0, 1.0)


def substitution(probabilities, predictions):
    """clip(1/2 + (g(0) - g(1)) / 2, 0, 1) with the mix loss g(z) = -ln(sum_i p_i exp(-2 (f_i - z)^2)) / 2.

    `probabilities`, `predictions`: `[N]`, predictions in [0, 1]; returns `[]` in [0, 1]. Its loss is at most g(label)
    for every label in [0, 1]. Experts of probability zero are ignored, NaN included.
    Source: `vovk:98`, the substitution function of the square-loss game, moved from [-1, 1] to [0, 1].
    """
    return forecast(probabilities, predictions, "aa")


def forecast(probabilities, predictions, rule):
    """The learner's prediction `[]`: `substitution` for rule "aa", the weighted average for "ewa"."""
    checks.one_of("rule", rule, tuple(LEARNING_RATE))
    return _forecast(probabilities, _mixed(jnp.where(probabilities > 0, predictions, 0), rule), rule)


def log_evidence(probabilities, predictions, label, rule):
    """ln sum_i p_i exp(-eta (f_i - label)^2), `[]`: minus eta times the mix loss, an upper bound of the learner's loss.

    `probabilities`, `predictions`: `[N]`; `label []`. Experts of probability zero are ignored, NaN included.
    """
    predictions = jnp.where(probabilities > 0, predictions, 0)
    return jnp.log(jnp.sum(probabilities * jnp.exp(-LEARNING_RATE[rule] * (predictions - label) ** 2)))


def update(log_weights, awake, probabilities, predictions, label, rule):
    """New `log_weights [N]`: an awake one changes by eta * (mix loss - its own loss), a sleeper keeps its weight.

    `awake [N]` is 0 or 1, `probabilities [N]` those of this round, `predictions [N]` and `label []` in [0, 1].
    """
    checks.one_of("rule", rule, tuple(LEARNING_RATE))
    awake = awake > 0
    log_likelihood = -LEARNING_RATE[rule] * (jnp.where(awake, predictions, 0) - label) ** 2
    return log_weights + jnp.where(awake, log_likelihood - log_evidence(probabilities, predictions, label, rule), 0)


def round_terms(predictions, labels, awake, rule):
    """`RoundTerms` of one round (`[N]`, `[]`, `[N]`) or of many (`[T, N]`, `[T]`, `[T, N]`); `awake` is 0 or 1."""
    awake = awake > 0
    anyone = jnp.any(awake, axis=-1)
    counted = awake | ~anyone[..., None]
    predictions = jnp.where(counted, predictions, 0)
    log_likelihood = jnp.where(awake, -LEARNING_RATE[rule] * (predictions - labels[..., None]) ** 2, 0)
    return RoundTerms(awake, anyone, log_likelihood, jnp.exp(log_likelihood), _mixed(predictions, rule))


def play(prior, log_weights, terms, rule):
    """One round from its `RoundTerms`: new log weights `[N]`, prediction `[]`, probabilities `[N]`.

    The body of a fast scan; equal to `probabilities`, `forecast` and `update` in turn.
    """
    p = _normalised(prior, terms.awake, terms.anyone, log_weights)
    prediction = _forecast(p, terms.mixed, rule)
    gain = terms.log_likelihood - jnp.log(jnp.sum(p * terms.likelihood))
    return log_weights + jnp.where(terms.awake, gain, 0), prediction, p


def regret_bound(prior, rule):
    """Learner's loss minus expert i's over the rounds where i is awake <= ln(1/q_i) / eta, for any data in [0, 1].

    `prior [..., N]`; returns `[..., N]`: ln(1/q)/2 for "aa", 2 ln(1/q) for "ewa".
    Source: `freund:97`, the specialist bound with the mixability constants of `vovk:98`.
    """
    return -jnp.log(prior) / LEARNING_RATE[rule]


def certificate(prior, log_weights, rule):
    """(ln w_i - ln q_i) / eta, `[..., N]`: bounds the regret so far against each expert and is at most `regret_bound`.

    It is the mix loss of the learner minus the loss of the expert, exactly, over the expert's awake rounds.
    """
    return (log_weights - jnp.log(prior)) / LEARNING_RATE[rule]


def validate(problem, params):
    """Raises ValueError naming argument, value and range; traced arrays are skipped. `run` calls it by default."""
    predictions, labels, awake, prior = problem.predictions, problem.labels, problem.awake, problem.prior
    checks.at_least("number of rounds", predictions.shape[0], 1)
    checks.at_least("number of experts", predictions.shape[-1], 1)
    checks.shape("labels", labels, predictions.shape[:1])
    checks.shape("awake", awake, predictions.shape)
    checks.shape("prior", prior, predictions.shape[-1:])
    checks.binary("awake", awake)
    checks.probability_vector("prior", prior)
    checks.in_range("labels", labels, 0.0, 1.0)
    if checks.is_concrete(predictions, awake):
        checks.in_range("predictions", _streams.only_counted(predictions, awake), 0.0, 1.0)
    _streams.require_rows(predictions.shape[0], params.num_steps)


_validate = validate  # `run` has a flag of the same name


def _prior(problem):
    """The prior in the dtype of the computation."""
    return jnp.asarray(problem.prior, jnp.result_type(problem.predictions, problem.labels, problem.prior))


def init(problem, params, key=None) -> State:
    """Round zero: the weights are the prior; `params` and `key` are not used."""
    del params, key
    return State(jnp.zeros((), jnp.int32), jnp.log(_prior(problem)))


def step(problem, params, state):
    """One round on row `state.step` of the problem: forecast, suffer, reweigh the awake.

    Returns the new state and `Info(loss=[], prediction=[], probabilities=[N])`. When nobody is awake the prior's
    forecast is counted and only the step counter changes. Past the last row loss and prediction are NaN and the weights
    stay.
    """
    predictions = _streams.row(problem.predictions, state.step, fill=jnp.nan)
    label = _streams.row(problem.labels, state.step, fill=jnp.nan)
    awake = _streams.row(problem.awake, state.step, fill=0)
    terms = round_terms(predictions, label, awake, params.rule)
    log_weights, prediction, p = play(_prior(problem), state.log_weights, terms, params.rule)
    return State(state.step + 1, log_weights), Info((prediction - label) ** 2, prediction, p)


def run(problem, params, key=None, *, state=None, validate=True) -> Result:
    """Plays `params.num_steps` rounds from `state.step` (0 without a state); pass `state` to continue exactly.

    Args:
      problem: `Problem` with `T` rounds of `N` experts.
      key: not used.
      validate: check concrete inputs first (see `validate` of this module); inside jit there is nothing to check.
    Returns: `Result`; `status` is NONFINITE after a non-finite counted prediction, or rounds past the end.
    Raises: ValueError for bad input, and for more rounds than the problem has left.
    """
    state = init(problem, params, key) if state is None else state
    if validate:
        _validate(problem, params)
        _streams.require_rows(problem.predictions.shape[0], params.num_steps, state.step)
    return _run(problem, params, state)


@jax.jit
def _run(problem, params, state):
    predictions = _streams.rows(problem.predictions, state.step, params.num_steps, fill=jnp.nan)
    labels = _streams.rows(problem.labels, state.step, params.num_steps, fill=jnp.nan)
    awake = _streams.rows(problem.awake, state.step, params.num_steps, fill=0)
    prior = _prior(problem)

    def body(log_weights, terms):
        log_weights, prediction, p = play(prior, log_weights, terms, params.rule)
        return log_weights, (prediction, p)

    terms = round_terms(predictions, labels, awake, params.rule)
    log_weights, (prediction, p) = jax.lax.scan(body, state.log_weights, terms)
    state = State(state.step + params.num_steps, log_weights)
    trace = Info((prediction - labels) ** 2, prediction, p)
    return Result(certificate(prior, log_weights, params.rule), state, trace, status.of((state, trace)))


def example(key: Key) -> tuple[Problem, Params]:
    """Five experts, sixteen rounds, random predictions, labels and sleep."""
    predictions_key, labels_key, awake_key = jax.random.split(key, 3)
    predictions = jax.random.uniform(predictions_key, (16, 5))
    labels = jax.random.uniform(labels_key, (16,))
    awake = jax.random.bernoulli(awake_key, 0.7, (16, 5)).astype(predictions.dtype)
    return Problem(predictions, labels, awake, jnp.full((5,), 0.2)), Params(num_steps=16)
