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

__all__ = ["Tradeoff", "majority_mixture", "majority_prediction"]


class Tradeoff(NamedTuple):
    """Expected over the coin of the post-processing, over all rounds."""

    accuracy: Float[Array, "S"]  # in [0, 1]
    parity_gap: Float[Array, "S"]  # in [0, 1]


def majority_prediction(labels: Int[Array, "T"]) -> Int[Array, "T"]:
    """The majority label of the rounds before each round; ties, and the first round, go to label 0."""
    ones_before = jnp.cumsum(labels) - labels
    return (2 * ones_before > jnp.arange(labels.shape[0])).astype(jnp.int32)


def majority_mixture(
    predictions: Int[Array, "T"], labels: Int[Array, "T"], protected: Int[Array, "T"], share: Float[Array, "S"]
) -> Tradeoff:
    """Accuracy and parity gap of the mixture, in expectation: rates are linear in the share, so no coin is thrown.

    Args:
      predictions, labels, protected: `[T]`, 0 or 1; both protected classes present.
      share: `[S]` probabilities of the majority answer, in [0, 1].

    Raises:
      ValueError: lengths differ, values outside the ranges.
    """
    validate.same_length(predictions=predictions, labels=labels, protected=protected)
    for name, values in (("predictions", predictions), ("labels", labels), ("protected", protected)):
        validate.binary(name, values)
    validate.in_range("share", share, 0.0, 1.0)
    share = jnp.asarray(share)
    majority = majority_prediction(labels)

    def rate(values, member):
        return jnp.sum(jnp.where(member, values, 0)) / jnp.maximum(jnp.sum(member), 1)

    def mixed(by_classifier, by_majority):
        return (1.0 - share) * by_classifier + share * by_majority

    everybody = jnp.ones_like(protected, bool)
    right = mixed(rate(predictions == labels, everybody), rate(majority == labels, everybody))
    zero, one = (mixed(rate(predictions, protected == a), rate(majority, protected == a)) for a in (0, 1))
    return Tradeoff(right, jnp.abs(one - zero))
