"""A learner against the opponents of `instances`, and the theorem it must obey, round by round.

A contest is played on one instance. After every round `parts` gives the pairs (measured, bound) of a theorem's entries,
which `experiments.regret.bounds` compares. Everything is a pure function, and is mapped over instances.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from experiments.regret import instances
from experiments.regret.instances import Instance, Shape
from research.core.types import Array, Float, Int
from research.regret import aggregating, finite_class, groupwise, ridge, sleeping_experts

__all__ = ["GROUP_LEARNERS", "Contest", "Pair", "contests", "group_problem"]

UNIT = (0.0, 1.0)

#: Group learners by name: options of `groupwise.Params`.
GROUP_LEARNERS = {
    "anh_mean": {"meta": "anh", "combine": "mean"},
    "anh_expected": {"meta": "anh", "combine": "expected"},
    "aa": {"meta": "aa"},
    "ewa": {"meta": "ewa"},
}


class Pair(NamedTuple):
    """Entry by entry: what the learner suffered, and the most that the theorem allows."""

    measured: Float[Array, " N"]
    bound: Float[Array, " N"]


class Contest(NamedTuple):
    """One learner.

    Attributes:
      start: instance -> state before the first round.
      play: (instance, time, state) -> state.
      parts: (instance, state) -> name of the theorem's part -> `Pair`.
    """

    start: Callable[[Instance], Any]
    play: Callable[[Instance, Int[Array, ""], Any], Any]
    parts: Callable[[Instance, Any], dict[str, Pair]]


def contests(shape: Shape) -> dict[str, Contest]:
    """All of them, by name; the parts' names are unique among all contests."""
    found = {name: _group_learner(name, options) for name, options in GROUP_LEARNERS.items()}
    found["vaw"] = _vaw()
    found["confident"] = _confidence_rated()
    found |= {f"{rule}_opinions": _opinions(rule) for rule in ("aa", "ewa")}
    return found | {method: _finite_class(method, shape) for method in ("blum_lykouris", "multiplicative_weights")}


def group_problem(instance: Instance, labels: Float[Array, " T"]) -> groupwise.Problem:
    """The instance with the labels that an opponent has chosen so far."""
    return groupwise.Problem(instance.features, labels, instance.awake, instance.prior)


class _Labelled(NamedTuple):
    learner: Any
    labels: Float[Array, " T"]  # chosen so far, 0 afterwards


def _group_learner(name: str, options: dict) -> Contest:
    """Linear experts and an aggregator: T2 for the experts, T1 or T4 for the aggregator, T3 for their sum."""

    def params(instance):
        return groupwise.Params(1, instance.regularization, form="recursion", clip=UNIT, **options)

    def start(instance):
        labels = jnp.zeros_like(instance.labels)
        return _Labelled(groupwise.init(group_problem(instance, labels), params(instance)), labels)

    def play(instance, time, state):
        unlabelled = group_problem(instance, state.labels)  # 0 stands for the label that nobody knows yet
        how = params(instance)
        said = ridge.step(unlabelled, groupwise.expert_params(how), state.learner.experts)[1].predictions
        prediction = groupwise.step(unlabelled, how, state.learner)[1].prediction
        label = instances.label(instance, time, prediction, jnp.clip(said, *UNIT))
        labels = state.labels.at[time].set(label)
        return _Labelled(groupwise.step(group_problem(instance, labels), how, state.learner)[0], labels)

    def parts(instance, state):
        problem = group_problem(instance, state.labels)
        comparator = state.learner.experts.ridge_value
        measured = groupwise.measured_regret(state.learner, comparator)
        allowed = groupwise.certificate(problem, params(instance), state.learner, comparator)
        pairs = {part: Pair(getattr(measured, part), getattr(allowed, part)) for part in groupwise.Parts._fields}
        return {f"{part}/{name}": pair for part, pair in pairs.items()}

    return Contest(start, play, parts)


class _Vaw(NamedTuple):
    experts: ridge.State
    labels: Float[Array, " T"]
    loss: Float[Array, " G"]


def _vaw() -> Contest:
    """VAW experts without clipping (T2), against an opponent who sees their average."""

    def params(instance):
        return ridge.Params(1, instance.regularization, "vaw", "recursion")

    def start(instance):
        zeros = jnp.zeros_like(instance.labels)
        experts = ridge.init(group_problem(instance, zeros), params(instance))
        return _Vaw(experts, zeros, jnp.zeros_like(instance.prior))

    def play(instance, time, state):
        said = ridge.step(group_problem(instance, state.labels), params(instance), state.experts)[1].predictions
        awake = instance.awake[time]
        average = jnp.sum(awake * said) / jnp.maximum(jnp.sum(awake), 1)
        label = jnp.clip(instances.label(instance, time, average, said), *UNIT)
        labels = state.labels.at[time].set(label)
        experts = ridge.step(group_problem(instance, labels), params(instance), state.experts)[0]
        return _Vaw(experts, labels, state.loss + awake * (said - label) ** 2)

    def parts(instance, state):
        del instance
        value, logdet = state.experts.ridge_value, state.experts.logdet
        return {"expert/vaw": Pair(state.loss - value, ridge.vaw_loss_bound(value, logdet) - value)}

    return Contest(start, play, parts)


def _one_round(step, state):
    """Plays a problem of a single row: the opponent makes the rows up as it goes."""
    played, _ = step(state._replace(step=jnp.zeros_like(state.step)))
    return played._replace(step=state.step + 1)


def _confidence_rated() -> Contest:
    """AdaNormalHedge on losses that fall from the sky, experts awake in part (T1), also against mixtures of experts."""
    params = sleeping_experts.Params(1)

    def start(instance):
        problem = sleeping_experts.Problem(instance.losses, instance.confidence, instance.prior)
        return sleeping_experts.init(problem, params)

    def play(instance, time, state):
        awake = instance.confidence[time]
        p = sleeping_experts.probabilities(instance.prior, awake, *state.meta)
        chosen = instances.losses(instance, instance.losses[time], p, instance.favourite)
        row = sleeping_experts.Problem(chosen[None], awake[None], instance.prior)
        return _one_round(lambda now: sleeping_experts.step(row, params, now), state)

    def parts(instance, state):
        regret, cumulative = state.meta
        mixture = jnp.sum(instance.comparator * regret)
        allowed = sleeping_experts.mixture_regret_bound(instance.prior, cumulative, instance.comparator)
        single = Pair(regret, sleeping_experts.regret_bound(instance.prior, cumulative))
        return {"meta/confident": single, "meta/confident_mixture": Pair(mixture[None], allowed[None])}

    return Contest(start, play, parts)


class _Opinions(NamedTuple):
    learner: aggregating.State
    regret: Float[Array, " G"]


def _opinions(rule: str) -> Contest:
    """The Aggregating Algorithm or EWA on predictions that fall from the sky (T4)."""
    params = aggregating.Params(1, rule)

    def start(instance):
        problem = aggregating.Problem(instance.opinions, instance.labels, instance.awake, instance.prior)
        return _Opinions(aggregating.init(problem, params), jnp.zeros_like(instance.prior))

    def play(instance, time, state):
        awake, said = instance.awake[time], instance.opinions[time]
        p = aggregating.probabilities(instance.prior, awake, state.learner.log_weights)
        prediction = aggregating.forecast(p, said, rule)
        label = instances.label(instance, time, prediction, said)
        row = aggregating.Problem(said[None], label[None], awake[None], instance.prior)
        learner = _one_round(lambda now: aggregating.step(row, params, now), state.learner)
        return _Opinions(learner, state.regret + awake * ((prediction - label) ** 2 - (said - label) ** 2))

    def parts(instance, state):
        return {f"meta/{rule}_opinions": Pair(state.regret, aggregating.regret_bound(instance.prior, rule))}

    return Contest(start, play, parts)


def _finite_class(method: str, shape: Shape) -> Contest:
    """A sleeping expert for every pair of a group and a hypothesis (T6)."""
    first = finite_class.Problem(jnp.zeros((shape.rounds, shape.hypotheses)), jnp.zeros((shape.rounds, shape.groups)))
    tuned = finite_class.Params(1, method)
    params = finite_class.Params(1, method, None if method == "blum_lykouris" else finite_class.step_size(first, tuned))

    def start(instance):
        return finite_class.init(finite_class.Problem(instance.hypothesis_losses, instance.awake), params)

    def play(instance, time, state):
        given, awake = instance.hypothesis_losses[time], instance.awake[time]

        def row(chosen):
            return finite_class.Problem(chosen[None], awake[None])

        at_start = state._replace(step=jnp.zeros_like(state.step))
        p = finite_class.step(row(given), params, at_start)[1].probabilities  # does not depend on the losses
        chosen = instances.losses(instance, given, p, instance.favourite % shape.hypotheses)
        return _one_round(lambda now: finite_class.step(row(chosen), params, now), state)

    def parts(instance, state):
        problem = finite_class.Problem(instance.hypothesis_losses, instance.awake)
        bound = finite_class.regret_bound(problem, params, state)
        return {f"meta/{method}": Pair(state.regret.reshape(-1), bound.reshape(-1))}

    return Contest(start, play, parts)
