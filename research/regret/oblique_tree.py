"""Aranyani: an online forest of soft oblique trees whose every decision node is pushed towards demographic parity.

Each inner node i sends a point left with probability n_i(x) = sigmoid(w_i . x + b_i); a leaf's probability is the
product along its path and the forest's output is the mean over trees of sum_leaf P(leaf) softmax(leaf scores). One
example at a time: predict, then one Adam step along

    d loss / d(w_i, b_i)  +  fairness * phi(F_i) * (gbar_{1,i} - gbar_{0,i}),

with the disparity F_i of node i and the running mean gradients gbar of `research.regret.parity`; the node's gradient is
n_i (1 - n_i) (x, 1), so no past example is stored.

Source: `basu-roy-chowdhury:24`. This is group *fairness* (parity of decisions between two classes), another goal than
small regret on every group; no regret bound is claimed.

Shapes: `T` rounds, `d` features, `J` trees, `n = 2**depth - 1` nodes per tree in level order, `2**depth` leaves from
left to right.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.regret import _streams, parity

__all__ = [
    "Forest", "Info", "Params", "Problem", "Result", "State", "decisions", "example", "init", "learn", "loss_gradient",
    "node_gradients", "output", "run", "start_forest", "step", "validate", "with_bias",
]  # fmt: skip

#: Added to both factors of every node, as in the authors' code; outputs then sum to 1 only up to depth * 2e-8.
PATH_EPSILON = 1e-8


class Problem(eqx.Module):
    """A stream of examples, in order."""

    features: Float[Array, "T d"]  # standardised columns
    labels: Int[Array, "T"]  # 0 or 1
    protected: Int[Array, "T"]  # protected class, 0 or 1


class Params(eqx.Module):
    """Knobs. `fairness` and the step size are traced: a grid of them is one `vmap`."""

    num_steps: int = eqx.field(static=True, default=1000)
    depth: int = eqx.field(static=True, default=4)
    num_trees: int = eqx.field(static=True, default=3)
    fairness: float | Float[Array, ""] = 0.0  # lambda, >= 0
    step_size: float | Float[Array, ""] = 2e-3
    slope_switch: float | Float[Array, ""] = 0.01  # |F| from which phi(F) is the sign of F, as in the authors' code

    def __check_init__(self):
        for name in ("num_steps", "depth", "num_trees"):
            checks.at_least(f"Params.{name}", getattr(self, name), 1)
        checks.in_range("Params.fairness", self.fairness, 0.0, jnp.finfo(jnp.float32).max)
        checks.positive("Params.step_size", self.step_size)
        checks.positive("Params.slope_switch", self.slope_switch)


class Forest(NamedTuple):
    """What Adam updates."""

    nodes: Float[Array, "J n d+1"]  # weights, and the bias as the last column
    leaves: Float[Array, "J 2**depth 2"]  # scores; a leaf predicts their softmax


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done
    forest: Forest
    adam: optax.OptState
    means: tuple[parity.ClassMeans, parity.ClassMeans]  # of class 0 and of class 1
    metrics: parity.Metrics


class Info(NamedTuple):
    prediction: Int[Array, ""]  # 0 or 1, before the update
    loss: Float[Array, ""]  # cross-entropy, nats
    accuracy: Float[Array, ""]  # over the rounds so far, [0, 1]
    parity_gap: Float[Array, ""]  # over the rounds so far, [0, 1]


class Result(NamedTuple):
    forest: Forest
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def with_bias(features: Float[Array, "... d"]) -> Float[Array, "... d+1"]:
    """The features with a constant 1 as last entry, which multiplies the bias."""
    return jnp.concatenate([features, jnp.ones_like(features[..., :1])], axis=-1)


def decisions(nodes: Float[Array, "J n d+1"], point: Float[Array, "d+1"]) -> Float[Array, "J n"]:
    """Probability of going left at every node; `point` has its trailing 1."""
    # A sum of products, not a dot: it fuses with the sigmoid and never drops to a lower matmul precision.
    return jax.nn.sigmoid(jnp.sum(nodes * point[None, None], axis=-1))


def node_gradients(decision: Float[Array, "J n"], point: Float[Array, "d+1"]) -> Float[Array, "J n d+1"]:
    """d n_i / d(w_i, b_i) = n_i (1 - n_i) (x, 1)."""
    return (decision * (1.0 - decision))[..., None] * point[None, None]


def _levels(values: Float[Array, "J n"]) -> list[Float[Array, "J ..."]]:
    """Node values level by level from the root; level l has shape `[J, 2, ..., 2]`, one axis per turn taken so far."""
    depth = (values.shape[-1] + 1).bit_length() - 1
    return [values[:, 2**level - 1 : 2 ** (level + 1) - 1].reshape(-1, *(2,) * level) for level in range(depth)]


def _branches(go_left: Float[Array, "J ..."]) -> Float[Array, "J ... 2"]:
    """Factors of the left (0) and right (1) child on a new last axis; a select fuses, a concatenation does not."""
    is_left = (jnp.arange(2) == 0).reshape((1,) * go_left.ndim + (2,))
    return jnp.where(is_left, go_left[..., None], 1.0 - go_left[..., None]) + PATH_EPSILON


def _reach(decision: Float[Array, "J n"]) -> list[Float[Array, "J ..."]]:
    """Probability of reaching each node, level by level; the last entry, `[J, 2, ..., 2]`, is that of the leaves."""
    reach = [jnp.ones_like(decision[:, 0])]
    for go_left in _levels(decision):
        reach.append(reach[-1][..., None] * _branches(go_left))
    return reach


def output(forest: Forest, decision: Float[Array, "J n"]) -> Float[Array, "2"]:
    """Class probabilities of the forest, normalised to sum to 1."""
    leaf_probabilities = _reach(decision)[-1].reshape(forest.leaves.shape[:2])
    votes = jnp.sum(leaf_probabilities[..., None] * jax.nn.softmax(forest.leaves, axis=-1), axis=(0, 1))
    return votes / jnp.sum(votes)


def loss_gradient(
    forest: Forest, decision: Float[Array, "J n"], label: Int[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, "2"], Float[Array, "J n"], Float[Array, "J 2**depth 2"]]:
    """Cross-entropy of the forest's output, and its gradient in the node decisions and the leaf scores.

    One pass down the trees (probability of reaching a node) and one up (value of a node: what its subtree contributes
    to the loss per unit of reach); the derivative in a decision is reach * (value of left child - that of right child).

    Returns:
      loss (nats), class probabilities `[2]`, d loss / d decision `[J, n]`, d loss / d leaves `[J, 2**depth, 2]`.
    """
    reach = _reach(decision)
    leaf_probabilities = reach[-1].reshape(forest.leaves.shape[:2])
    classes = jax.nn.softmax(forest.leaves, axis=-1)
    votes = jnp.sum(leaf_probabilities[..., None] * classes, axis=(0, 1)) / forest.leaves.shape[0]
    total = jnp.sum(votes)
    chosen = jnp.where(label == 1, votes[1], votes[0])
    is_label = jnp.arange(2) == label
    by_vote = (1.0 / total - jnp.where(is_label, 1.0 / chosen, 0.0)) / forest.leaves.shape[0]  # of one tree's vote

    value = jnp.sum(classes * by_vote[None, None], axis=-1)  # of a leaf
    by_leaf = leaf_probabilities[..., None] * classes * (by_vote[None, None] - value[..., None])
    value = value.reshape(reach[-1].shape)
    by_decision = []
    for go_left, here in zip(reversed(_levels(decision)), reversed(reach[:-1]), strict=True):
        by_decision.append((here * (value[..., 0] - value[..., 1])).reshape(here.shape[0], -1))
        value = jnp.sum(_branches(go_left) * value, axis=-1)
    return jnp.log(total) - jnp.log(chosen), votes / total, jnp.concatenate(by_decision[::-1], axis=-1), by_leaf


def start_forest(key: Key, params: Params, num_features: int, dtype) -> Forest:
    """Weights and biases from N(0, 1), leaf scores uniform on [0, 1)."""
    trees, inner = params.num_trees, 2**params.depth - 1
    nodes = jax.random.normal(prng.stream(key, "nodes"), (trees, inner, num_features + 1), dtype)
    return Forest(nodes, jax.random.uniform(prng.stream(key, "leaves"), (trees, inner + 1, 2), dtype))


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """A random forest that has seen nothing. Raises ValueError without a key."""
    checks.require(key is not None, "key", "be a PRNG key (the forest starts at random)", key)
    features = problem.features
    forest = start_forest(key, params, features.shape[-1], features.dtype)
    means = parity.start_means(forest.nodes[..., 0], forest.nodes)
    adam = parity.optimiser(params.step_size).init(forest)
    return State(jnp.int32(0), forest, adam, means, parity.start_metrics())


def learn(params: Params, state: State, features, label, protected) -> tuple[State, Info]:
    """One round on an example given by hand: predicts `features [d]`, then sees `label` and `protected` (0 or 1 each).

    The forest stays as it is until both protected classes were seen. A tie predicts label 0.
    """
    point = with_bias(features)
    decision = decisions(state.forest.nodes, point)
    loss, classes, by_decision, by_leaf = loss_gradient(state.forest, decision, label)
    prediction = (classes[1] > classes[0]).astype(jnp.int32)
    metrics = parity.count(state.metrics, prediction, label, protected)

    by_weights = node_gradients(decision, point)
    means = parity.include(state.means, decision, by_weights, protected)
    penalty = parity.penalty_gradient(means, params.fairness, params.slope_switch)
    gradient = Forest(by_decision[..., None] * by_weights + penalty, by_leaf)
    forest, adam = parity.descend(params.step_size, gradient, state.forest, state.adam, means)
    info = Info(prediction, loss, parity.accuracy(metrics, loss.dtype), parity.gap(metrics, loss.dtype))
    return State(state.step + 1, forest, adam, means, metrics), info


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round on row `state.step` of the problem; past the last row the state becomes NaN, and `status` says so."""
    features = _streams.row(problem.features, state.step, fill=jnp.nan)
    label, protected = (_streams.row(rows, state.step, fill=0) for rows in (problem.labels, problem.protected))
    return learn(params, state, features, label, protected)


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Runs `params.num_steps` rounds; pass `state` to continue an earlier run exactly where it stopped.

    Raises ValueError for bad input (see `validate` of this module), inside jit for shapes only.
    """
    state = init(problem, params, key) if state is None else state
    if validate:
        _validate(problem, params, state.step)
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.forest, state, trace, status.of(state))


def validate(problem: Problem, params: Params, step: int | Int[Array, ""] = 0) -> None:
    """Raises ValueError naming argument, value and range; see `parity.validate_stream`."""
    parity.validate_stream(problem.features, problem.labels, problem.protected, params.num_steps, step)


_validate = validate  # `run` has a flag of the same name


def example(key: Key) -> tuple[Problem, Params]:
    """Forty rounds of three features, in which the label leans on the protected class."""
    features = jax.random.normal(prng.stream(key, "features"), (40, 3))
    protected = jax.random.bernoulli(prng.stream(key, "protected"), 0.5, (40,)).astype(jnp.int32)
    labels = (features[:, 0] + 0.5 * protected > 0.25).astype(jnp.int32)
    return Problem(features, labels, protected), Params(num_steps=40, depth=2, num_trees=2, fairness=0.5)
