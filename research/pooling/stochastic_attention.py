"""Stochastic attention pooling for multi-instance AUC: the companion of `stochastic` with learned weights.

A bag's score is h = sigma(n / d), n the mean of exp(logit) value over its instances, d that of exp(logit): the
attention-weighted value. Both means are averaged over visits, and the gradient is the quotient's,
sigma' (g_n - (n / d) g_d) / d with fresh g in w and averaged n and d.
Source: `zhu:23`, Algorithm 1 (attention variant). Departures: an average is a triple (m, n, d) that stands for
n exp(m) and d exp(m), so that no logit overflows; the first visit to a bag sets its averages (`Params.first_visit`).

Letters: `G` bags, `B` instances seen per bag, `S` bags per step, `H` hidden units of the logits.
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
    "AttentionScorer", "Info", "Params", "Problem", "Quotient", "Result", "State", "average", "bag_scores", "example",
    "init", "quotient", "run", "step",
]  # fmt: skip


class AttentionScorer(eqx.Module):
    """Of an instance: its logit w tanh(V x), and its value u x + c."""

    hidden: Float[Array, "D H"]
    logit: Float[Array, " H"]
    weight: Float[Array, " D"]
    offset: Float[Array, ""]

    @classmethod
    def create(cls, key: Key, size: int, hidden: int = 16):
        """Weights of standard deviation 0.1; hidden ones of 1 / sqrt(size)."""
        keys = jax.random.split(key, 3)
        return cls(
            jax.random.normal(keys[0], (size, hidden)) * size**-0.5,
            0.1 * jax.random.normal(keys[1], (hidden,)),
            0.1 * jax.random.normal(keys[2], (size,)),
            jnp.zeros(()),
        )

    def __call__(self, x: Float[Array, "*B D"]) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
        return jnp.tanh(x @ self.hidden) @ self.logit, x @ self.weight + self.offset


class Quotient(NamedTuple):
    """n exp(m) over d exp(m)."""

    log_scale: Float[Array, "*B"]  # m
    numerator: Float[Array, "*B"]
    denominator: Float[Array, "*B"]


class State(NamedTuple):
    step: Int[Array, ""]
    key: Key
    saddle: Saddle
    means: Quotient  # `[G]`; of unvisited bags 1 over 1
    visited: Bool[Array, " G"]


class Info(NamedTuple):
    """Of the sampled bags, before the model moves."""

    positive: Float[Array, ""]  # mean score of positive bags, in (0, 1)
    negative: Float[Array, ""]
    dual: Float[Array, ""]  # alpha


class Result(NamedTuple):
    scorer: Any  # after the last step
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def quotient(
    logit: Float[Array, "*B N"], value: Float[Array, "*B N"], mask: Bool[Array, "*B N"] | None = None
) -> Quotient:
    """Means of exp(logit) value and of exp(logit) over instances; the scale is the largest logit, of no gradient."""
    mask = jnp.ones(logit.shape, bool) if mask is None else mask
    top = jax.lax.stop_gradient(jnp.max(logit, axis=-1, where=mask, initial=-1e30))
    weight = jnp.where(mask, jnp.exp(jnp.where(mask, logit - top[..., None], 0)), 0)
    count = jnp.maximum(mask.sum(axis=-1), 1)
    return Quotient(top, jnp.sum(weight * jnp.where(mask, value, 0), axis=-1) / count, weight.sum(axis=-1) / count)


def average(old: Quotient, new: Quotient, weight: float | Float[Array, ""], first: Bool[Array, "*B"]) -> Quotient:
    """(1 - weight) old + weight new, on the larger of both scales; new at the first of an average."""
    top = jnp.maximum(old.log_scale, new.log_scale)
    before, after = (1 - weight) * jnp.exp(old.log_scale - top), weight * jnp.exp(new.log_scale - top)
    mixed = Quotient(
        top,
        before * old.numerator + after * new.numerator,
        before * old.denominator + after * new.denominator,
    )
    return jax.tree.map(lambda start, going: jnp.where(first, start, going), new, mixed)


def bag_scores(problem: Problem, scorer: Any) -> Float[Array, " G"]:
    """Scores of all bags from all of their instances, in (0, 1)."""
    found = quotient(*scorer(problem.instances), problem.mask)
    return jax.nn.sigmoid(found.numerator / found.denominator)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """At the problem's scorer, no bag visited. Raises ValueError for what `multi_instance.validate` refuses."""
    checks.require(key is not None, "key", "be a key", None)
    multi_instance.validate(problem, params)
    bags, dtype = problem.positive.shape, problem.instances.dtype
    means = Quotient(jnp.zeros(bags, dtype), jnp.ones(bags, dtype), jnp.ones(bags, dtype))
    return State(jnp.int32(0), key, multi_instance.start_saddle(problem), means, jnp.zeros(bags, bool))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """Samples bags, averages their means, moves the model by the averaged scores."""
    drawn = multi_instance.sample(problem, params, jax.random.fold_in(state.key, state.step))
    first = ~state.visited[drawn.bag] & params.first_visit
    held = jax.tree.map(lambda leaf: leaf[drawn.bag], state.means)

    def loss(scorer):
        new = quotient(*scorer(drawn.instances), drawn.mask)
        mean = jax.lax.stop_gradient(average(held, new, params.averaging, first))
        ratio = mean.numerator / mean.denominator
        value = jax.nn.sigmoid(ratio)
        # Both on the scale of the average: exp(new scale - its scale) <= 1.
        fresh = jnp.exp(new.log_scale - mean.log_scale) * (new.numerator - ratio * new.denominator)
        surrogate = value * (1 - value) / mean.denominator * fresh
        return multi_instance.linear_loss(state.saddle, value, surrogate), (mean, value)

    gradient, (mean, value) = jax.grad(loss, has_aux=True)(state.saddle.scorer)
    half = len(value) // 2
    info = Info(value[:half].mean(), value[half:].mean(), state.saddle.dual)
    means = jax.tree.map(lambda leaf, new: leaf.at[drawn.bag].set(new, unique_indices=True), state.means, mean)
    new = State(
        state.step + 1, state.key, multi_instance.move(params, state.saddle, gradient, value), means,
        state.visited.at[drawn.bag].set(True),
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
    problem = multi_instance.bag_problem(data, AttentionScorer.create(weights, 3, 4), 12, 5, 3)
    return problem, Params(num_steps=16, bags=2, instances=2, averaging=0.3)
