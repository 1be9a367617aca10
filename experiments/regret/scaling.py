"""Loss, bound and wall time of the group learner as its family of groups grows.

A step of this program is one stage of one family: the experts of its first k groups see all rounds, or one method plays
their predictions. Stages are branches of one compiled program, so that `timing.jsonl` holds the seconds of every stage
and nothing else (`seconds` of the row of that step, for all replicates together). Steps go round all families
`run.num_steps / (families * stages)` times; the numbers repeat, the clocks do not.

Metrics, `[R]`, of the step's stage:

    loss    squared loss of everybody over all rounds; of the stage "experts", of one online ridge (unclipped)
    bound   bound on that loss minus the loss of one online ridge, clipped; 0 where no theorem speaks
    regret  what it bounds
    ratio   largest measured/bound of the meta part over the groups; 0 where no theorem speaks
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import mesh as mesh_lib
from experiments.lib import program as program_lib
from experiments.lib.program import Program
from experiments.regret.families import FamilySource
from experiments.regret.protocol import shuffle_seed
from research.core import sharding, validate
from research.core.types import Array, Float, Int
from research.regret import groupwise, problems, ridge

__all__ = ["AGGREGATORS", "METHODS", "STAGES", "Data", "State", "program"]

UNIT = (0.0, 1.0)

#: Aggregators: options of `groupwise.Params`.
AGGREGATORS = {
    "anh": {"meta": "anh", "combine": "expected", "clip": None},  # the paper's
    "anh_mean": {"meta": "anh", "combine": "mean", "clip": UNIT},
    "aa": {"meta": "aa", "clip": UNIT},
}
#: Methods: aggregator, and whether the prior halves with every condition of a group.
METHODS = {
    "anh": ("anh", False), "anh_mean": ("anh_mean", False), "aa": ("aa", False),
    "anh_mean_depth": ("anh_mean", True), "aa_depth": ("aa", True),
}  # fmt: skip
STAGES = ("experts", *METHODS)

_NOTHING = 1e-9  # a bound below it is a group that has not been awake


class Data(NamedTuple):
    table: groupwise.Problem  # all groups; uniform prior
    depth_mass: Float[Array, " G"]  # 2^-conditions
    order: Int[Array, "R T"]


class State(NamedTuple):
    step: Int[Array, ""]
    predictions: Float[Array, "R T G"]  # of the family whose stages are being played; 0 beyond it


def program(config, mesh, source: FamilySource) -> Program:
    """The stages as a program; `config.problem.sizes` lists the families, `config.algo.methods` the methods."""
    sizes, methods = tuple(config.problem.sizes), tuple(config.algo.methods)
    for method in methods:
        validate.one_of("config.algo.methods", method, tuple(METHODS))
    rounds, replicates = config.problem.num_rounds, config.run.replicates
    stages = ("experts", *methods)
    laps, rest = divmod(config.run.num_steps, len(sizes) * len(stages))
    validate.require(
        rest == 0 and laps > 0 and config.run.chunk == 1, "config.run",
        f"have chunk 1 and num_steps a multiple of {len(sizes)} sizes x {len(stages)} stages", config.run.to_dict(),
    )  # fmt: skip
    shared = {"num_steps": rounds, "form": config.algo.form, "block_size": config.algo.block_size}
    dtype = program_lib.number(config)

    def family(data: Data, order, size: int, by_depth=False) -> groupwise.Problem:
        mass = jnp.where(by_depth, data.depth_mass[:size], 1)
        table = data.table
        return groupwise.Problem(table.features, table.labels, table.awake[:, :size], mass / jnp.sum(mass), order)

    def experts(size, data, by_depth, order, predictions):
        del by_depth
        problem = family(data, order, size)
        params = groupwise.Params(**shared, regularization=config.algo.regularization)
        said = ridge.run(problem, groupwise.expert_params(params)).trace.predictions
        loss = jnp.sum(jnp.where(order >= 0, (said[:, 0] - ridge.labels_of(problem, order)) ** 2, 0))
        zero = jnp.zeros_like(loss)
        metrics = {"loss": loss, "bound": zero, "regret": zero, "ratio": zero}
        return jnp.zeros_like(predictions).at[:, :size].set(said), metrics

    def play(size, aggregator, data, by_depth, order, predictions):
        problem = family(data, order, size, by_depth)
        params = groupwise.Params(**shared, **AGGREGATORS[aggregator])
        meta, _ = groupwise.aggregate(problem, params, predictions[:, :size], groupwise.init_meta(problem, params))
        regret = meta.group_loss - meta.expert_loss
        bound = groupwise.meta_regret_bound(problem, params, meta)
        covered = groupwise.is_covered(params)
        ratio = jnp.max(jnp.maximum(regret, 0) / jnp.maximum(bound, _NOTHING))
        return predictions, {
            "loss": meta.group_loss[0],
            "bound": jnp.where(covered, bound[0], 0),
            "regret": jnp.where(covered, regret[0], 0),
            "ratio": jnp.where(covered, ratio, 0),
        }

    def branch(size, kind):
        return lambda *args: experts(size, *args) if kind == "experts" else play(size, kind, *args)

    # The prior is an argument, so methods that differ in nothing else share a branch.
    kinds = ("experts", *dict.fromkeys(METHODS[method][0] for method in methods))
    branches = [branch(size, kind) for size in sizes for kind in kinds]
    of_stage = jnp.asarray([kinds.index(s if s == "experts" else METHODS[s][0]) for s in stages], jnp.int32)
    depth_of_stage = jnp.asarray([s != "experts" and METHODS[s][1] for s in stages])

    def one_stage(data: Data, index, by_depth, order, predictions):
        return jax.lax.switch(index, branches, data, by_depth, order, predictions)

    lanes = mesh_lib.over_replicates(mesh, one_stage, shared=3)

    @jax.jit
    def advance(data: Data, state: State):
        size, stage = jnp.divmod(state.step % (len(sizes) * len(stages)), len(stages))
        index, by_depth = size * len(kinds) + of_stage[stage], depth_of_stage[stage]
        predictions, metrics = lanes(data._replace(order=None), index, by_depth, data.order, state.predictions)
        return State(state.step + 1, predictions), metrics

    def init():
        nested = source.load(sizes[-1])
        table = problems.from_arrays(nested.features, nested.labels, nested.awake, dtype=dtype)
        groupwise.validate(table, groupwise.Params(**shared))
        seeds = [shuffle_seed(config.seed, r) for r in range(replicates)]
        orders = np.stack([problems.permutation(seed, source.num_rows)[:rounds] for seed in seeds]).astype(np.int32)
        mass = jnp.asarray(0.5**nested.depth, dtype)
        state = State(jnp.int32(0), jnp.zeros((replicates, rounds, sizes[-1]), dtype))
        return _placed(Data(table, mass, jnp.asarray(orders)), state, mesh)

    def abstract():
        num_groups, rows = sizes[-1], source.num_rows
        table = groupwise.Problem(
            jax.ShapeDtypeStruct((rows, source.num_features), dtype), jax.ShapeDtypeStruct((rows,), dtype),
            jax.ShapeDtypeStruct((rows, num_groups), jnp.bool_), jax.ShapeDtypeStruct((num_groups,), dtype),
        )  # fmt: skip
        mass = jax.ShapeDtypeStruct((num_groups,), dtype)
        order = jax.ShapeDtypeStruct((replicates, rounds), jnp.int32)
        predictions = jax.ShapeDtypeStruct((replicates, rounds, num_groups), dtype)
        return _placed(Data(table, mass, order), State(jax.ShapeDtypeStruct((), jnp.int32), predictions), mesh)

    axes = {"size": tuple(map(str, sizes)), "stage": stages}
    return Program(init, advance, abstract(), ("seed", "algo.regularization"), axes)


def _placed(data: Data, state: State, mesh) -> tuple[Any, Any]:
    shared = sharding.replicated(data._replace(order=None), mesh)
    return (
        shared._replace(order=sharding.split_replicates(data.order, mesh)),
        State(sharding.replicated(state.step, mesh), sharding.split_replicates(state.predictions, mesh)),
    )
