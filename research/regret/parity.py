"""Demographic parity of an online learner: what is measured, and the running means that a parity penalty needs.

The penalty on a decision p (of a tree node, of a network's output) is driven by its disparity F = m_1 - m_0 between the
two protected classes, and its gradient by gbar_1 - gbar_0, where m_a and gbar_a are running means over class a of p and
of dp/dtheta *as they were when each example was seen*. No past example is stored.

Source: `basu-roy-chowdhury:24`, the aggregate-gradient estimator. `rounds` counts fit in int32.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.core import validate
from research.core.types import Array, Float, Int
from research.regret import _streams

__all__ = [
    "ClassMeans", "Metrics", "accuracy", "count", "descend", "disparity", "gap", "include", "optimiser",
    "penalty_gradient", "seen_both", "slope", "start_means", "start_metrics", "validate_stream",
]  # fmt: skip


class ClassMeans(NamedTuple):
    """Running means over the rounds of one protected class."""

    rounds: Int[Array, ""]
    decision: Float[Array, "..."]  # in [0, 1]
    gradient: Any  # pytree of the parameters that the decision depends on; leading axes as in `decision`


class Metrics(NamedTuple):
    """Prequential counts: every prediction was made before its label was seen."""

    rounds: Int[Array, "2"]  # per protected class
    correct: Int[Array, ""]
    positive: Int[Array, "2"]  # predictions of label 1, per protected class


def start_means(decision: Float[Array, "..."], gradient: Any) -> tuple[ClassMeans, ClassMeans]:
    """No example of either class, for decisions and gradients of these shapes."""
    empty = ClassMeans(jnp.int32(0), jnp.zeros_like(decision), jax.tree.map(jnp.zeros_like, gradient))
    return empty, empty


def include(means: tuple[ClassMeans, ClassMeans], decision, gradient, protected: Int[Array, ""]):
    """The means with one more example of class `protected` (0 or 1); the other class keeps its bits.

    The classes are two structures and each passes through a select: reading a slice of one stacked array, or a row just
    written by index, would stop the whole round from being fused.
    """

    def update(means_of_class, present):
        rounds = means_of_class.rounds + present
        weight = 1.0 / jnp.maximum(rounds, 1).astype(decision.dtype)

        def towards(mean, value):
            return jnp.where(present, mean + weight * (value - mean), mean)

        gradients = jax.tree.map(towards, means_of_class.gradient, gradient)
        return ClassMeans(rounds, towards(means_of_class.decision, decision), gradients)

    return update(means[0], protected == 0), update(means[1], protected == 1)


def seen_both(means: tuple[ClassMeans, ClassMeans]):
    """Whether both protected classes were seen: before that there is no disparity to act on."""
    return (means[0].rounds > 0) & (means[1].rounds > 0)


def slope(disparity: Float[Array, "..."], switch: float | Float[Array, ""]) -> Float[Array, "..."]:
    """phi(F): F itself below `switch` in absolute value, its sign beyond.

    Not the derivative of a Huber loss, whose outer slope would be `switch`: the penalty jumps to full strength there.
    """
    return jnp.where(jnp.abs(disparity) < switch, disparity, jnp.sign(disparity))


def penalty_gradient(means: tuple[ClassMeans, ClassMeans], fairness, switch) -> Any:
    """fairness * phi(F) * (gbar_1 - gbar_0), a pytree like `gradient`; fairness >= 0."""
    strength = fairness * slope(means[1].decision - means[0].decision, switch)

    def of_leaf(one, zero):
        return strength.reshape(strength.shape + (1,) * (one.ndim - strength.ndim)) * (one - zero)

    return jax.tree.map(of_leaf, means[1].gradient, means[0].gradient)


def start_metrics() -> Metrics:
    """No prediction made."""
    return Metrics(jnp.zeros(2, jnp.int32), jnp.int32(0), jnp.zeros(2, jnp.int32))


def count(metrics: Metrics, prediction: Int[Array, ""], label: Int[Array, ""], protected: Int[Array, ""]) -> Metrics:
    """The counts with one more prediction."""
    is_class = (jnp.arange(2) == protected).astype(jnp.int32)
    correct = metrics.correct + (prediction == label)
    return Metrics(metrics.rounds + is_class, correct, metrics.positive + is_class * prediction)


def accuracy(metrics: Metrics, dtype=jnp.float32) -> Float[Array, "..."]:
    """Share of correct predictions so far, in [0, 1]; 0 before the first round."""
    return metrics.correct.astype(dtype) / jnp.maximum(jnp.sum(metrics.rounds, axis=-1), 1).astype(dtype)


def disparity(metrics: Metrics, dtype=jnp.float32) -> Float[Array, "..."]:
    """Mean prediction of class 1 minus that of class 0 so far, in [-1, 1]; 0 until both classes were seen."""
    rates = metrics.positive.astype(dtype) / jnp.maximum(metrics.rounds, 1).astype(dtype)
    return jnp.where(jnp.all(metrics.rounds > 0, axis=-1), rates[..., 1] - rates[..., 0], 0)


def gap(metrics: Metrics, dtype=jnp.float32) -> Float[Array, "..."]:
    """Demographic-parity gap: the absolute `disparity`, in [0, 1]."""
    return jnp.abs(disparity(metrics, dtype))


def optimiser(step_size: float | Float[Array, ""]) -> optax.GradientTransformation:
    """Adam with the decay rates and the epsilon of the authors' Keras optimiser (0.9, 0.999, 1e-7).

    Departure: optax adds epsilon to the bias-corrected root, Keras to the uncorrected one, which makes its epsilon
    larger by 1 / sqrt(1 - 0.999**t): 32 at the first step, 1 in the limit.
    """
    return optax.adam(step_size, b1=0.9, b2=0.999, eps=1e-7)


def descend(step_size, gradient, weights, adam: optax.OptState, means: tuple[ClassMeans, ClassMeans]):
    """`(weights, adam)` after one step of `optimiser`; unchanged until both classes were seen, as the authors do."""
    updates, moments = optimiser(step_size).update(gradient, adam)
    updated, ready = (optax.apply_updates(weights, updates), moments), seen_both(means)
    return jax.tree.map(lambda new, old: jnp.where(ready, new, old), updated, (weights, adam))


def validate_stream(features, labels, protected, num_steps: int, step=0) -> None:
    """Raises ValueError for lengths that differ or fall short, non-finite features, labels or classes not in {0, 1}."""
    validate.shape("features", features, (None, None))
    validate.same_length(features=features, labels=labels, protected=protected)
    validate.finite("features", features)
    validate.binary("labels", labels)
    validate.binary("protected", protected)
    _streams.require_rows(features.shape[0], num_steps, step)
