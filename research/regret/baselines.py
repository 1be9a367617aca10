"""What the group learner is compared with: one regression for everybody, and simpler ways to use one per group.

All of them see the rounds of a `groupwise.Problem` in its order and suffer the squared loss. The mixtures take the
experts' predictions, so that they share the pass that `groupwise.aggregate` uses. Blum-Lykouris and multiplicative
weights over a finite class are in `finite_class`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float, Int
from research.regret import groupwise, ridge

__all__ = ["Played", "gradient_descent", "online_ridge", "smallest_group", "uniform_average"]


class Played(NamedTuple):
    loss: Float[Array, " T"]  # 0 where there is no round
    prediction: Float[Array, " T"]


def online_ridge(problem: groupwise.Problem, params: groupwise.Params) -> Played:
    """One online ridge regression (or VAW) on all rounds, clipped as `params` says: the paper's baseline.

    It is the expert of a group that is always awake. Uses `params.num_steps, regularization, forecaster, form, clip`.
    """
    everybody = jnp.ones_like(problem.labels)[:, None]
    alone = ridge.Problem(problem.features, problem.labels, everybody, problem.order)
    predictions = ridge.run(alone, groupwise.expert_params(params)).trace.predictions[:, 0]
    return _suffer(problem, params, predictions)


def smallest_group(problem: groupwise.Problem, params: groupwise.Params, predictions: Float[Array, "T G"]) -> Played:
    """Follows the expert of the smallest group awake, by the number of rows; ties go to the lower index.

    Knows the groups' sizes beforehand, which an online learner does not. Nobody awake: predicts 0, clipped.
    """
    sizes = jnp.sum(problem.awake > 0, axis=0)
    return _mix(problem, params, predictions, lambda awake: _first_smallest(awake, sizes))


def uniform_average(problem: groupwise.Problem, params: groupwise.Params, predictions: Float[Array, "T G"]) -> Played:
    """The plain average of the experts awake. Nobody awake: predicts 0, clipped."""

    def equal_shares(awake):
        return awake / jnp.maximum(jnp.sum(awake, axis=-1, keepdims=True), 1)

    return _mix(problem, params, predictions, equal_shares)


def gradient_descent(
    problem: groupwise.Problem, params: groupwise.Params, step_size: float, weight_decay: float = 0.0
) -> Played:
    """Online gradient descent on the squared loss for everybody, one pass, `theta` from 0.

        theta <- (1 - a_t weight_decay) theta + a_t (y - theta'x) x,    a_t = step_size / sqrt(t)

    `step_size` and `weight_decay` are traced. Uses `params.num_steps` and `params.clip`; the gradient is not clipped.
    """
    rows = ridge.rows_shown(problem, 0, params.num_steps)
    present = (rows >= 0).astype(problem.features.dtype)
    labels = ridge.labels_of(problem, rows)

    def one_round(theta, now):
        row, present, label, t = now
        x = present * problem.features[jnp.maximum(row, 0)]
        prediction = jnp.dot(theta, x, precision=jax.lax.Precision.HIGHEST)
        rate = present * step_size / jnp.sqrt(t)
        return theta - rate * weight_decay * theta + rate * (label - prediction) * x, prediction

    rounds = jnp.arange(1, params.num_steps + 1, dtype=labels.dtype)
    start = jnp.zeros(problem.features.shape[1:], labels.dtype)
    return _suffer(problem, params, jax.lax.scan(one_round, start, (rows, present, labels, rounds))[1])


def _first_smallest(awake: Float[Array, "T G"], sizes: Int[Array, " G"]) -> Float[Array, "T G"]:
    size = jnp.where(awake > 0, sizes[None, :], np.iinfo(np.int32).max)
    return awake * jax.nn.one_hot(jnp.argmin(size, axis=-1), awake.shape[-1], dtype=awake.dtype)


def _mix(problem, params, predictions, weights_of) -> Played:
    awake = ridge.awake_in(problem, ridge.rows_shown(problem, 0, predictions.shape[0]))
    predictions = predictions if params.clip is None else jnp.clip(predictions, *params.clip)
    weights = weights_of(awake)
    return _suffer(problem, params, jnp.sum(jnp.where(weights > 0, weights * predictions, 0), axis=-1))


def _suffer(problem, params, prediction) -> Played:
    rows = ridge.rows_shown(problem, 0, prediction.shape[0])
    prediction = prediction if params.clip is None else jnp.clip(prediction, *params.clip)
    loss = jnp.where(rows >= 0, (prediction - ridge.labels_of(problem, rows)) ** 2, 0)
    return Played(loss, prediction)
