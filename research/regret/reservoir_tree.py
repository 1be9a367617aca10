"""Baseline of `oblique_tree`: the same forest, its parity penalty computed offline on a reservoir of past examples.

The reservoir is a uniform sample of `capacity` of the rounds so far. Every round evaluates the *current* node decisions
and their gradients on all stored examples, so the penalty is exact on the sample where Aranyani's running means are
stale; the price is the storage of people's data and `capacity` forward passes per round.

Source: `basu-roy-chowdhury:24`, the reservoir baseline; sampling is `vitter:85`, Algorithm R.

Shapes: as in `oblique_tree`; `M` stored examples.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.regret import _streams, oblique_tree, parity
from research.regret.oblique_tree import Forest, Info, Problem, validate

__all__ = [
    "Info", "Params", "Problem", "Reservoir", "Result", "State", "example", "init", "insert", "learn",
    "reservoir_means", "run", "step", "validate",
]  # fmt: skip


class Params(oblique_tree.Params):
    """Those of the forest, and the size of the reservoir."""

    capacity: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        checks.at_least("Params.capacity", self.capacity, 1)


class Reservoir(NamedTuple):
    """A uniform sample of the rounds so far; the first min(seen, M) slots are in use."""

    seen: Int[Array, ""]
    points: Float[Array, "M d+1"]  # features with a trailing 1
    protected: Int[Array, "M"]


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done
    key: Key  # of the slots
    forest: Forest
    adam: optax.OptState
    reservoir: Reservoir
    metrics: parity.Metrics


class Result(NamedTuple):
    forest: Forest
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def insert(reservoir: Reservoir, key: Key, point: Float[Array, "d+1"], protected: Int[Array, ""]) -> Reservoir:
    """Offers one more example: stored while there is room, then in place of a stored one with probability M / seen."""
    capacity = reservoir.points.shape[0]
    drawn = jax.random.randint(key, (), 0, reservoir.seen + 1)
    slot = jnp.where(reservoir.seen < capacity, reservoir.seen, drawn)
    return Reservoir(
        reservoir.seen + 1,
        reservoir.points.at[slot].set(point, mode="drop"),
        reservoir.protected.at[slot].set(jnp.asarray(protected, jnp.int32), mode="drop"),
    )


def reservoir_means(
    reservoir: Reservoir, nodes: Float[Array, "J n d+1"]
) -> tuple[parity.ClassMeans, parity.ClassMeans]:
    """Means over the stored examples of each class of the current node decisions and of their gradients."""
    highest = jax.lax.Precision.HIGHEST
    decision = jax.nn.sigmoid(jnp.einsum("jnd,md->mjn", nodes, reservoir.points, precision=highest))
    used = jnp.arange(reservoir.points.shape[0]) < reservoir.seen

    def of_class(label):
        member = used & (reservoir.protected == label)
        rounds = jnp.sum(member, dtype=jnp.int32)
        share = member.astype(decision.dtype) / jnp.maximum(rounds, 1)
        weighted = share[:, None, None] * decision
        gradient = jnp.einsum("mjn,md->jnd", weighted * (1.0 - decision), reservoir.points, precision=highest)
        return parity.ClassMeans(rounds, jnp.sum(weighted, axis=0), gradient)

    return of_class(0), of_class(1)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """The forest that `oblique_tree.init` draws from the same key, and an empty reservoir."""
    start = oblique_tree.init(problem, params, key)
    size, width = params.capacity, problem.features.shape[-1] + 1
    empty = Reservoir(jnp.int32(0), jnp.zeros((size, width), problem.features.dtype), jnp.zeros(size, jnp.int32))
    return State(start.step, prng.stream(key, "reservoir"), start.forest, start.adam, empty, start.metrics)


def learn(params: Params, state: State, features, label, protected) -> tuple[State, Info]:
    """One round on an example given by hand; no update while the reservoir holds one class only."""
    point = oblique_tree.with_bias(features)
    decision = oblique_tree.decisions(state.forest.nodes, point)
    loss, classes, by_decision, by_leaf = oblique_tree.loss_gradient(state.forest, decision, label)
    prediction = (classes[1] > classes[0]).astype(jnp.int32)
    metrics = parity.count(state.metrics, prediction, label, protected)

    reservoir = insert(state.reservoir, prng.per_step(state.key, state.step), point, protected)
    means = reservoir_means(reservoir, state.forest.nodes)
    penalty = parity.penalty_gradient(means, params.fairness, params.slope_switch)
    gradient = Forest(by_decision[..., None] * oblique_tree.node_gradients(decision, point) + penalty, by_leaf)
    forest, adam = parity.descend(params.step_size, gradient, state.forest, state.adam, means)
    info = Info(prediction, loss, parity.accuracy(metrics, loss.dtype), parity.gap(metrics, loss.dtype))
    return State(state.step + 1, state.key, forest, adam, reservoir, metrics), info


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round on row `state.step` of the problem; past the last row the state becomes NaN, and `status` says so."""
    features = _streams.row(problem.features, state.step, fill=jnp.nan)
    label, protected = (_streams.row(rows, state.step, fill=0) for rows in (problem.labels, problem.protected))
    return learn(params, state, features, label, protected)


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Runs `params.num_steps` rounds; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    if validate:
        oblique_tree.validate(problem, params, state.step)
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.forest, state, trace, status.of(state))


def example(key: Key) -> tuple[Problem, Params]:
    """The stream of `oblique_tree.example` and a reservoir that fills up."""
    problem, params = oblique_tree.example(key)
    return problem, Params(num_steps=params.num_steps, depth=2, num_trees=2, fairness=0.5, capacity=8)
