"""Stochastic smoothed-maximum pooling for multi-instance AUC: bags are scored from a few of their instances at a time.

A bag's score is h = tau log mean exp(score / tau). From B instances the mean is estimated without bias, its logarithm
is not (`robust_bounds.smoothed_max_bias`, theorem T13); an average u of estimates over visits takes most of the bias
away, and the gradient uses g / u, the estimate over the average.
Source: `zhu:23`, Algorithm 1 (smoothed-max variant). Departures: averages are kept as logarithms, since
exp(score / tau) overflows at scores of 88 tau in float32; the first visit to a bag sets its average
(`Params.first_visit`).

Letters: `G` bags, `B` instances seen per bag, `S` bags per step.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling import multi_instance
from research.pooling.multi_instance import Params, Problem, Saddle

__all__ = [
    "Info", "LinearScorer", "Params", "Problem", "Result", "State", "average", "bag_scores", "example", "init", "run",
    "smoothed_max", "step",
]  # fmt: skip


class LinearScorer(eqx.Module):
    """Score of an instance, w x + c."""

    weight: Float[Array, " D"]
    offset: Float[Array, ""]

    @classmethod
    def create(cls, key: Key, size: int):
        """Weights of standard deviation 0.1."""
        return cls(0.1 * jax.random.normal(key, (size,)), jnp.zeros(()))

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        return x @ self.weight + self.offset


class State(NamedTuple):
    step: Int[Array, ""]
    key: Key
    saddle: Saddle
    log_mean: Float[Array, " G"]  # log u; -1e30 of unvisited bags
    visited: Bool[Array, " G"]


class Info(NamedTuple):
    """Of the sampled bags, before the model moves."""

    positive: Float[Array, ""]  # mean score of positive bags
    negative: Float[Array, ""]
    dual: Float[Array, ""]  # alpha
    stale: Float[Array, ""]  # mean |log(g / u)|: how far estimates are from averages, in nats


class Result(NamedTuple):
    scorer: Any  # after the last step
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def _log_mean_exp(scaled, mask):
    count = mask.sum(axis=-1)
    filled = jnp.where(mask, scaled, -jnp.inf)
    return jnp.where(count > 0, jax.nn.logsumexp(filled, axis=-1) - jnp.log(jnp.maximum(count, 1)), -jnp.inf)


def smoothed_max(
    score: Float[Array, "*B N"], temperature: float | Float[Array, ""], mask: Bool[Array, "*B N"] | None = None
) -> Float[Array, "*B"]:
    """tau log mean exp(score / tau): between the mean and the largest score; -inf for no instance."""
    checks.positive("temperature", temperature)
    mask = jnp.ones(score.shape, bool) if mask is None else mask
    return temperature * _log_mean_exp(score / temperature, mask)


def average(
    log_mean: Float[Array, "*B"],
    log_new: Float[Array, "*B"],
    weight: float | Float[Array, ""],
    first: Bool[Array, "*B"],
) -> Float[Array, "*B"]:
    """log((1 - weight) u + weight g) of log u and log g; log g at the first of an average."""
    rest = jnp.log1p(-jnp.asarray(weight, log_new.dtype)) + log_mean
    return jnp.where(first, log_new, jnp.logaddexp(rest, jnp.log(jnp.asarray(weight, log_new.dtype)) + log_new))


def bag_scores(problem: Problem, scorer: Any, temperature: float | Float[Array, ""]) -> Float[Array, " G"]:
    """Scores of all bags from all of their instances."""
    return smoothed_max(scorer(problem.instances), temperature, problem.mask)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """At the problem's scorer, no bag visited. Raises ValueError for what `multi_instance.validate` refuses."""
    checks.require(key is not None, "key", "be a key", None)
    multi_instance.validate(problem, params)
    bags = problem.positive.shape
    # Finite, since states are checked for infinities; as good as log 0.
    log_mean = jnp.full(bags, -1e30, problem.instances.dtype)
    return State(jnp.int32(0), key, multi_instance.start_saddle(problem), log_mean, jnp.zeros(bags, bool))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """Samples bags, averages their means, moves the model by the averaged scores."""
    drawn = multi_instance.sample(problem, params, jax.random.fold_in(state.key, state.step))
    first = ~state.visited[drawn.bag] & params.first_visit

    def loss(scorer):
        log_new = _log_mean_exp(scorer(drawn.instances) / params.temperature, drawn.mask)
        seen = jax.lax.stop_gradient(log_new)
        log_mean = average(state.log_mean[drawn.bag], seen, params.averaging, first)
        value = params.temperature * log_mean
        ratio = params.temperature * jnp.exp(log_new - log_mean)  # at most tau / gamma
        return multi_instance.linear_loss(state.saddle, value, ratio), (log_mean, value, seen - log_mean)

    gradient, (log_mean, value, apart) = jax.grad(loss, has_aux=True)(state.saddle.scorer)
    half = len(value) // 2
    info = Info(value[:half].mean(), value[half:].mean(), state.saddle.dual, jnp.abs(apart).mean())
    new = State(
        state.step + 1, state.key, multi_instance.move(params, state.saddle, gradient, value),
        state.log_mean.at[drawn.bag].set(log_mean, unique_indices=True), state.visited.at[drawn.bag].set(True),
    )  # fmt: skip
    return new, info


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` steps, from `init` or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.saddle.scorer, state, trace, status.of(state))


def example(key: Key) -> tuple[Problem, Params]:
    """Twelve bags of five instances with three entries; sixteen steps of two bags of each class, two instances each."""
    data, weights = jax.random.split(key)
    problem = multi_instance.bag_problem(data, LinearScorer.create(weights, 3), 12, 5, 3)
    return problem, Params(num_steps=16, bags=2, instances=2, averaging=0.3)
