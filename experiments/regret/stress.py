"""Every contest on every instance, with the largest measured/bound of each theorem kept as the rounds go by.

Metrics: `<part>/<learner> [R]`, the largest ratio of measured to bound over entries and rounds so far, comparators of
the experts being `M_g(lambda)`: the sharpest form, to whose two sides `M_g - hindsight_g >= 0` can be added.
Results: for every metric the entries after the last round, `measured/<name>` and `bound/<name>` `[R, N]`; those of
the group learners against least squares in hindsight.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import driver
from experiments.lib import mesh as mesh_lib
from experiments.lib.program import Program
from experiments.regret import instances
from experiments.regret.contests import GROUP_LEARNERS, Pair, contests
from experiments.regret.instances import Instance, Shape
from research.core import prng, sharding
from research.core.types import Array, Float, Int
from research.regret import oracles

__all__ = ["State", "drive", "program"]

#: A bound below this is a group that has not been awake, or rounding; nothing is divided by it.
_NOTHING = 1e-9


class State(NamedTuple):
    """Of one instance; in the program every leaf has a leading axis `R`."""

    time: Int[Array, ""]
    learners: dict[str, Any]
    worst: dict[str, Float[Array, ""]]


def _shape(config) -> Shape:
    problem = config.problem
    return Shape(config.run.num_steps, problem.groups, problem.features, problem.hypotheses)


def _ratio(pair: Pair) -> Float[Array, ""]:
    """The largest measured/bound; negative regret counts as none."""
    return jnp.max(jnp.maximum(pair.measured, 0) / jnp.maximum(pair.bound, _NOTHING))


def _pairs(played, instance: Instance, learners: dict[str, Any]) -> dict[str, Pair]:
    found: dict[str, Pair] = {}
    for name, contest in played.items():
        found |= contest.parts(instance, learners[name])
    return found


def program(config, mesh) -> Program:
    """The contests as a program; the instances are its data."""
    shape, replicates = _shape(config), config.run.replicates
    played = contests(shape)

    def start(instance: Instance) -> State:
        learners = {name: contest.start(instance) for name, contest in played.items()}
        worst = {name: jnp.zeros_like(instance.regularization) for name in _pairs(played, instance, learners)}
        return State(jnp.int32(0), learners, worst)

    def one_round(instance: Instance, state: State) -> State:
        learners = {name: contest.play(instance, state.time, state.learners[name]) for name, contest in played.items()}
        ratios = {name: _ratio(pair) for name, pair in _pairs(played, instance, learners).items()}
        worst = {name: jnp.maximum(state.worst[name], ratio) for name, ratio in ratios.items()}
        return State(state.time + 1, learners, worst)

    def one_chunk(instance: Instance, state: State):
        state, _ = jax.lax.scan(lambda now, _: (one_round(instance, now), None), state, length=config.run.chunk)
        return state, state.worst

    def draw_all():
        key = prng.stream(prng.root_key(config.seed), "instances")
        drawn = jax.vmap(lambda number: instances.draw(key, number, shape))(jnp.arange(replicates))
        return drawn, jax.vmap(start)(drawn)

    abstract = sharding.split_replicates(jax.eval_shape(draw_all), mesh)

    def init():
        return jax.jit(draw_all, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, abstract))()

    advance = mesh_lib.over_replicates(mesh, one_chunk)
    return Program(init, advance, abstract, ("seed",), {"law": instances.LAWS, "pattern": instances.PATTERNS})


def drive(config, run, mesh) -> None:
    """Runs the program, and adds the entries after the last round to the results."""
    data, state = driver.drive(program(config, mesh), config, run)
    if run.results:
        return
    played = contests(_shape(config))
    pairs = jax.jit(jax.vmap(lambda instance, learners: _pairs(played, instance, learners)))(data, state.learners)
    arrays = {
        f"{kind}/{name}": np.asarray(getattr(pair, kind)) for name, pair in pairs.items() for kind in Pair._fields
    }
    for learner in GROUP_LEARNERS:
        labels = np.asarray(state.learners[learner].labels)
        added = np.asarray(state.learners[learner].learner.experts.ridge_value) - _hindsight(data, labels)
        for part in ("expert", "total"):
            for kind in Pair._fields:
                arrays[f"{kind}/{part}/{learner}"] = arrays[f"{kind}/{part}/{learner}"] + added
    run.results(**arrays)


def _hindsight(data: Instance, labels: Float[np.ndarray, "R T"]) -> Float[np.ndarray, "R G"]:
    features, awake = np.asarray(data.features), np.asarray(data.awake)
    return np.stack([oracles.hindsight_groups(*one) for one in zip(features, labels, awake, strict=True)])
