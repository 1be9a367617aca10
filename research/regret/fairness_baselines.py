"""Majority post-processing: parity bought by ignoring a classifier on a random share of the rounds.

With probability `share` a round is answered by the majority label of the past instead of the classifier. Accuracy and
parity gap then move on the straight line between the classifier's and the constant's, which any fair learner must beat.

Source: `basu-roy-chowdhury:24`, the majority baseline. The other baselines are modules of their own: `online_mlp`,
`reservoir_tree`; the Hoeffding tree is a library's and lives with the experiment.
"""

from typing import NamedTuple

import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Float, Int
from research.regret import parity

__all__ = ["Tradeoff", "majority_metrics", "majority_mixture", "majority_prediction"]


class Tradeoff(NamedTuple):
    """Expected over the coin of the post-processing."""

    accuracy: Float[Array, "... S"]  # in [0, 1]
    parity_gap: Float[Array, "... S"]  # in [0, 1]


def majority_prediction(labels: Int[Array, "T"]) -> Int[Array, "T"]:
    """The majority label of the rounds before each round; ties, and the first round, go to label 0."""
    ones_before = jnp.cumsum(labels) - labels
    return (2 * ones_before > jnp.arange(labels.shape[0])).astype(jnp.int32)


def majority_metrics(labels: Int[Array, "T"], protected: Int[Array, "T"]) -> parity.Metrics:
    """The prequential counts of predicting the majority. Raises ValueError for values other than 0 and 1."""
    validate.same_length(labels=labels, protected=protected)
    validate.binary("labels", labels)
    validate.binary("protected", protected)
    said = majority_prediction(labels)
    member = jnp.stack([protected == 0, protected == 1])
    correct = jnp.sum(said == labels, dtype=jnp.int32)
    rounds = jnp.sum(member, axis=1, dtype=jnp.int32)
    return parity.Metrics(rounds, correct, jnp.sum(member & (said == 1)[None], axis=1, dtype=jnp.int32))


def majority_mixture(classifier: parity.Metrics, majority: parity.Metrics, share: Float[Array, "S"]) -> Tradeoff:
    """Accuracy and parity gap of the mixture, in expectation: rates are linear in the share, so no coin is thrown.

    Args:
      classifier: counts of the classifier, with any leading axes.
      majority: counts of the majority on the same rounds.
      share: `[S]` probabilities of the majority answer, in [0, 1].

    Raises:
      ValueError: a share outside [0, 1], or counts over other rounds.
    """
    validate.in_range("share", share, 0.0, 1.0)
    if validate.is_concrete(classifier.rounds, majority.rounds):
        same = bool(jnp.all(classifier.rounds == jnp.broadcast_to(majority.rounds, classifier.rounds.shape)))
        validate.require(same, "majority.rounds", "be those of the classifier", majority.rounds)
    share = jnp.asarray(share)

    def mixed(statistic):
        one, other = statistic(classifier, share.dtype)[..., None], statistic(majority, share.dtype)
        weight = share.reshape((1,) * (one.ndim - 1) + share.shape)
        return (1 - weight) * one + weight * other

    return Tradeoff(mixed(parity.accuracy), jnp.abs(mixed(parity.disparity)))
