"""Random and adversarial instances, on which a theorem must hold in every round whatever the learner does.

An instance fixes what an oblivious opponent would: who is awake, the contexts, the experts' opinions, the prior. Under
two of the laws an opponent sees the learner's prediction and answers it (`label`, `losses`). Laws and patterns are
dealt out by the number of the instance, so that all their pairs occur equally often. Where fewer groups or features are
drawn than there is room for, the others are groups that never wake and columns of zeros.

Letters: `T` rounds, `G` groups or experts, `d` features, `K` hypotheses.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import prng
from research.core.types import Array, Float, Int, Key

__all__ = ["LAWS", "PATTERNS", "Instance", "Shape", "draw", "label", "losses"]

#: Where labels and losses come from: one law for everybody; one per group; one that turns over half-way; the opponent,
#: against the learner's prediction; the opponent, who spares one expert entirely and fools the learner elsewhere.
LAWS = ("common", "by_group", "turnover", "against_learner", "perfect_expert")

#: Who is awake: everybody at a rate of their own; one group after the other; copies of few groups; hardly anybody; each
#: group in one stretch of time.
PATTERNS = ("rates", "in_turn", "copies", "rare", "stretches")

_ABSENT = 1e-30  # prior of a group that is not there: it must be positive, and so small the sum does not notice


class Shape(NamedTuple):
    """Static sizes; `groups`, `features` are the most that an instance can have."""

    rounds: int
    groups: int
    features: int
    hypotheses: int


class Instance(NamedTuple):
    """Numbers are in [0, 1] where nothing else is said, in JAX's default precision."""

    law: Int[Array, ""]  # position in LAWS
    favourite: Int[Array, ""]  # the expert who is spared under "perfect_expert"
    features: Float[Array, "T d"]  # in [-3, 3]
    regularization: Float[Array, ""]  # of the linear experts: 0.01 to 100
    awake: Float[Array, "T G"]  # 0 or 1
    confidence: Float[Array, "T G"]  # awake, in every second instance only in part
    prior: Float[Array, " G"]  # sums to 1
    comparator: Float[Array, " G"]  # a mixture of experts: sums to 1
    labels: Float[Array, " T"]  # under the oblivious laws
    opinions: Float[Array, "T G"]  # predictions of experts that do not learn
    losses: Float[Array, "T G"]  # of experts, under the oblivious laws
    hypothesis_losses: Float[Array, "T K"]  # under the oblivious laws


def draw(key: Key, number: Int[Array, ""], shape: Shape) -> Instance:
    """Instance `number`, counted from 0, of the collection that `key` names; the same in a collection of any size."""
    key = prng.per_replicate(key, number)
    law, pattern = number % len(LAWS), number // len(LAWS) % len(PATTERNS)

    def uniform(name, *size, low=0.0, high=1.0):
        return jax.random.uniform(prng.stream(key, name), size, minval=low, maxval=high)

    def normal(name, *size):
        return jax.random.normal(prng.stream(key, name), size)

    def integer(name, low, high):
        return jax.random.randint(prng.stream(key, name), (), low, high + 1)

    rounds, groups, dim, hypotheses = shape
    real = jnp.arange(groups) < integer("groups", 1, groups)
    used = jnp.arange(dim) < integer("features", 1, dim)
    awake = _awake(uniform, pattern, rounds, real, integer("period", 1, groups))
    features = jnp.where(used[None, :], _features(uniform, integer, rounds, dim), 0.0)
    late = jnp.arange(rounds) >= rounds // 2

    def by_law(common, by_group, turnover):
        """The last two laws fall back on the first where the opponent has nothing to say."""
        return jnp.stack([common, by_group, turnover, common, common])[law]

    noise = 0.1 * normal("noise", rounds)
    slopes = normal("slopes", groups + 1, dim) / jnp.sqrt(dim)
    linear = jnp.dot(features, slopes.T, precision=jax.lax.Precision.HIGHEST)
    own = jnp.take_along_axis(linear, jnp.argmax(awake, axis=1)[:, None], axis=1)[:, 0]
    labels = by_law(0.5 + linear[:, -1] + noise, 0.5 + own + noise, jnp.where(late, 0.0, 1.0))

    opinions = uniform("opinions", rounds, groups)
    extreme = integer("extreme", 0, 1) == 1
    skill = uniform("skill", groups)
    scatter = uniform("losses", rounds, groups)
    hypothesis_skill = uniform("hypothesis skill", hypotheses)
    hypothesis_scatter = uniform("hypothesis losses", rounds, hypotheses)

    def experts(scatter, skill):
        flipped = jnp.where(late[:, None], 1 - skill[None, :], skill[None, :])
        return by_law(scatter, 0.5 * (scatter + skill[None, :]), 0.5 * (scatter + flipped))

    partly = integer("partly", 0, 1) == 1
    return Instance(
        law=law,
        favourite=integer("favourite", 0, groups - 1),
        features=features,
        regularization=10.0 ** uniform("regularization", low=-2.0, high=2.0),
        awake=awake,
        confidence=awake * jnp.where(partly, uniform("confidence", rounds, groups), 1.0),
        prior=_distribution(jnp.where(integer("uniform prior", 0, 1) == 1, 0.0, 2.0 * normal("prior", groups)), real),
        comparator=_distribution(2.0 * normal("comparator", groups), real),
        labels=jnp.clip(labels, 0.0, 1.0),
        opinions=jnp.where(extreme, jnp.round(opinions), opinions),
        losses=experts(scatter, skill),
        hypothesis_losses=experts(hypothesis_scatter, hypothesis_skill),
    )


def _distribution(scores, real):
    """Softmax over the groups that are there."""
    return jnp.maximum(jax.nn.softmax(jnp.where(real, scores, -jnp.inf)), _ABSENT)


def _features(uniform, integer, rounds, dim):
    """Points of a cube around the origin, with a constant first feature; or indicators of `dim` categories."""
    cube = uniform("cube", rounds, dim, low=-1.0, high=1.0) * uniform("scale", low=0.1, high=3.0)
    categories = jax.nn.one_hot(jnp.floor(dim * uniform("category", rounds)).astype(jnp.int32), dim, dtype=cube.dtype)
    return jnp.where(integer("categorical", 0, 1) == 1, categories, cube.at[:, 0].set(1.0))


def _awake(uniform, pattern, rounds, real, period):
    """0 or 1, `[T, G]`. In every second instance the first group is always awake."""
    groups = real.shape[0]
    time, group = jnp.arange(rounds)[:, None], jnp.arange(groups)[None, :]
    coins, rates = uniform("coins", rounds, groups), uniform("rates", groups)[None, :]
    scattered = coins < rates
    start = uniform("start", groups)[None, :] * rounds
    stretch = (time >= start) & (time < start + rounds * jnp.maximum(rates, 0.1))
    turn = jnp.broadcast_to(time % period == group % period, scattered.shape)
    by_pattern = jnp.stack([scattered, turn, scattered[:, jnp.arange(groups) // 3], coins < 0.03, stretch])
    always = (uniform("always") < 0.5) & (group == 0)
    return ((by_pattern[pattern] | always) & real[None, :]).astype(coins.dtype)


def label(
    instance: Instance, time: Int[Array, ""], prediction: Float[Array, ""], predictions: Float[Array, " G"]
) -> Float[Array, ""]:
    """The label of a round, chosen by an opponent who sees what the learner and its experts predict, in [0, 1]."""
    against = jnp.where(prediction < 0.5, 1.0, 0.0).astype(prediction.dtype)
    spared = jnp.where(instance.awake[time, instance.favourite] > 0, predictions[instance.favourite], against)
    given = instance.labels[time]
    return jnp.stack([given, given, given, against, spared])[instance.law]


def losses(
    instance: Instance, given: Float[Array, " N"], probabilities: Float[Array, " N"], favourite: Int[Array, ""]
) -> Float[Array, " N"]:
    """Losses of a round, chosen by an opponent who sees the learner's probabilities: 0 or 1 where it has a say.

    Args:
      given: the losses under the oblivious laws.
      favourite: the entry that is spared under "perfect_expert".
    """
    awake = jnp.sum(probabilities > 0)
    against = (probabilities * awake >= 1).astype(given.dtype)  # whoever has at least an equal share
    spared = jnp.where(jnp.arange(given.shape[0]) == favourite, 0.0, 1.0).astype(given.dtype)
    return jnp.stack([given, given, given, against, spared])[instance.law]
