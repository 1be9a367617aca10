"""The paths experiment as a program: the costs of a chunk are drawn inside it, every perturbation plays the same ones.

Laws (`config.problem.law`): "drift", overlapping groups with mean costs of their own that drift apart; "alternating",
one group, the stream on which an unperturbed leader is always wrong.

Metrics, cumulative, in losses (mean edge cost per round), each `[R, G]`; `<p>` is a perturbation, in units of the
theorem's 1 / eps_n:

    rounds             rounds of the group so far
    hindsight          loss of the group's best path
    learner/<p>        the learner's expected loss on the rounds of the group
    leader/<p>         loss of the group's own leader there
    single/<p>         loss of the last group's leader there: one learner for everybody
    uniform/<p>        mean loss of the awake groups' leaders there
    meta_bound/<p>     T1's bound on learner - leader
    leader_bound       T5's bound on the expected regret of the group's leader with perturbation 1

Shape letters: `R` replicates, `G` groups, `P` perturbations.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.lib import mesh as mesh_lib
from experiments.lib import program as program_lib
from experiments.lib.program import Program
from research.core import prng, sharding, validate
from research.core.types import Array, Float, Int
from research.regret import grid, paths, sleeping_experts

__all__ = ["LAWS", "State", "group_names", "perturbation_names", "program"]

LAWS = ("drift", "alternating")


class State(NamedTuple):
    """Of one replicate; in a program every leaf has a leading axis `R`."""

    round: Int[Array, ""]
    play: paths.State  # leaves have a leading axis `P`
    single: Float[Array, "P G"]
    uniform: Float[Array, "P G"]


def group_names(config) -> tuple[str, ...]:
    """A value of an attribute is a letter and a number; the last group is everybody."""
    if config.problem.law == "alternating":
        return ("always_on",)
    sizes = config.problem.attributes
    return (*(f"{chr(65 + a)}{value}" for a, size in enumerate(sizes) for value in range(1, size + 1)), "always_on")


def perturbation_names(config) -> tuple[str, ...]:
    """The perturbations as they stand in the metrics' names."""
    return tuple(f"{value:g}" for value in config.algo.perturbations)


def program(config, mesh) -> Program:
    """The experiment as a program."""
    setting, chunk = config.problem, config.run.chunk
    validate.one_of("config.problem.law", setting.law, LAWS)
    dtype = program_lib.number(config)
    num_groups, names = len(group_names(config)), perturbation_names(config)

    def law_of(key):
        if setting.law == "alternating":
            return grid.Alternating(setting.side, jnp.dtype(dtype).name)
        sizes, horizon = tuple(setting.attributes), float(config.run.num_steps)
        return grid.draw_law(key, side=setting.side, sizes=sizes, horizon=horizon, drift=setting.drift, dtype=dtype)

    def window(law, first, rounds) -> paths.Problem:
        costs, awake = law.window(first, rounds)
        return paths.Problem(costs, awake, jnp.full(num_groups, 1 / num_groups, dtype), first_round=first)

    def start(law, key) -> State:
        one = paths.init(window(law, 0, 1), paths.Params(num_steps=chunk), key)
        play = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], len(names), axis=0), one)
        zeros = jnp.zeros((len(names), num_groups), dtype)
        return State(jnp.int32(0), play, zeros, zeros)

    def both(perturbations):
        keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
        laws = jax.vmap(lambda key: law_of(prng.stream(key, "law")))(keys)
        if setting.law == "alternating":  # no draws: the same stream for all
            state = jax.vmap(lambda key: start(law_of(key), prng.stream(key, "play")))(keys)
        else:
            state = jax.vmap(lambda law, key: start(law, prng.stream(key, "play")))(laws, keys)
        return (perturbations, laws), state

    def init():
        (shared, laws), state = jax.jit(both)(jnp.asarray(config.algo.perturbations, dtype))
        return _placed((shared, laws), state, mesh)

    def one_chunk(perturbations, law, state: State):
        problem = window(law, state.round, chunk)

        def played(perturbation, play):
            params = paths.Params(num_steps=chunk, perturbation=perturbation)
            result = paths.run(problem, params, state=play, validate=False)
            awake, losses = problem.awake, result.trace.leader_loss
            mean = jnp.sum(awake * losses, axis=1) / jnp.maximum(jnp.sum(awake, axis=1), 1)
            return result.state, jnp.sum(awake * losses[:, -1:], axis=0), jnp.sum(awake * mean[:, None], axis=0)

        play, single, uniform = jax.vmap(played)(perturbations, state.play)
        state = State(state.round + chunk, play, state.single + single, state.uniform + uniform)
        return state, _metrics(state, problem.prior, names)

    lanes = mesh_lib.over_replicates(mesh, one_chunk, shared=1)
    advance = jax.jit(lambda data, state: lanes(*data, state))
    shapes = jax.eval_shape(both, jax.ShapeDtypeStruct((len(names),), dtype))
    axes = {"group": group_names(config), "perturbation": names}
    return Program(init, advance, _placed(*shapes, mesh), ("seed",), axes)


def _placed(data, state, mesh):
    shared, laws = data
    return (sharding.replicated(shared, mesh), sharding.split_replicates(laws, mesh)), sharding.split_replicates(
        state, mesh
    )


def _metrics(state: State, prior, names) -> dict[str, Float[Array, " G"]]:
    first = jax.tree.map(lambda leaf: leaf[0], state.play)  # costs and memberships are those of every perturbation
    side, rounds = first.cumulative.vertical.shape[-1], first.rounds.astype(prior.dtype)
    metrics = {
        "rounds": first.rounds,
        "hindsight": paths.hindsight(first),
        "leader_bound": paths.leader_regret_bound(side, rounds),
    }
    for lane, name in enumerate(names):
        metrics |= {
            f"learner/{name}": state.play.learner_loss[lane],
            f"leader/{name}": state.play.leader_loss[lane],
            f"single/{name}": state.single[lane],
            f"uniform/{name}": state.uniform[lane],
            f"meta_bound/{name}": sleeping_experts.regret_bound(prior, state.play.meta.cumulative[lane]),
        }
    return metrics
