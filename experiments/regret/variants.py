"""The group learner with one choice changed at a time, and simpler learners beside it, on the same shuffles.

All variants are one compiled program: the experts' pass is mapped over the values of lambda, VAW predictions are read
from the pass with lambda = 1, and every aggregator plays the predictions it asks for. A step is the whole data set.

Metrics: `<variant> [R, G]`, loss over the rounds of every group. Results: `hindsight [G]`, least squares of all rounds
of each group.
Letters: `R` shuffles, `T` rounds, `G` groups, `L` values of lambda, `S` step sizes.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import driver
from experiments.lib import mesh as mesh_lib
from experiments.lib import program as program_lib
from experiments.lib.program import Program
from experiments.regret.protocol import Data, Source, row_orders
from research.core import sharding, validate
from research.core.types import Array, Float, Int
from research.regret import baselines, groupwise, oracles, problems, ridge

__all__ = ["DEFAULT", "SINGLE", "State", "drive", "names", "program", "swept"]

UNIT = (0.0, 1.0)

#: The variant that all others are compared with, and the options of `groupwise.Params` that make it.
DEFAULT = "default"
_DEFAULT = {"meta": "anh", "combine": "mean", "clip": UNIT}

#: Aggregators that are played at every value of lambda; None: no aggregator, one clipped online ridge.
SWEPT = {"anh": {}, "aa": {"meta": "aa"}, "ridge": None}

#: Variants at lambda = 1 that are a point of a sweep.
_POINTS = {DEFAULT: "anh", "aa": "aa", "online_ridge_clipped": "ridge"}

#: Variants at lambda = 1 with options that differ from the default's.
OPTIONS = {
    "ewa": {"meta": "ewa"},
    "expected": {"combine": "expected"},
    "unclipped": {"clip": None},
    "paper": {"combine": "expected", "clip": None},
}
#: Variants that exist once; `swept` names those that exist for every lambda.
SINGLE = (
    *_POINTS, *OPTIONS, "vaw", "without_always_on", "online_ridge", "smallest_group", "uniform_average",
    "gradient_descent",
)  # fmt: skip


class State(NamedTuple):
    step: Int[Array, ""]


def swept(kind: str, value: float) -> str:
    """Name of a variant with another lambda; `kind` is "anh", "aa" or "ridge" (one clipped online ridge)."""
    return f"{kind}/lambda={value:g}"


def names(config) -> list[str]:
    """All variants of a config."""
    return [*SINGLE, *(swept(kind, value) for kind in SWEPT for value in config.algo.regularization)]


def program(config, mesh, source: Source) -> Program:
    """The variants as a program; `config.algo.regularization` and `config.algo.step_sizes` are traced grids."""
    rounds, replicates = config.run.num_steps, config.run.replicates
    validate.require(config.run.chunk == rounds, "config.run.chunk", "equal config.run.num_steps", config.run.chunk)
    grid = tuple(config.algo.regularization)
    validate.require(1.0 in grid, "config.algo.regularization", "contain 1.0, the default", grid)
    shared = {"num_steps": rounds, "form": config.algo.form, "block_size": config.algo.block_size}
    dtype = program_lib.number(config)

    def params(**options):
        return groupwise.Params(**shared, **(_DEFAULT | options))

    def one_shuffle(table: groupwise.Problem, order, state: State):
        problem = dataclasses.replace(table, order=order)
        awake = ridge.awake_in(problem, order)

        def by_group(loss: Float[Array, " T"]) -> Float[Array, " G"]:
            return jnp.sum(awake * loss[:, None], axis=0)

        def played(predictions, among=problem, **options) -> Float[Array, " G"]:
            how = params(**options)
            _, info = groupwise.aggregate(among, how, predictions, groupwise.init_meta(among, how))
            return by_group(info.loss)

        def pass_of(value):
            how = groupwise.Params(**shared, regularization=value)
            trace = ridge.run(problem, groupwise.expert_params(how)).trace
            return trace.predictions, trace.leverage

        one = grid.index(1.0)
        said, leverage = jax.vmap(pass_of)(jnp.asarray(grid, dtype))
        usual, vaw = said[one], said[one] / (1 + leverage[one])
        runs = {  # VAW rides along as one lane more
            "anh": jax.vmap(played)(jnp.concatenate([said, vaw[None]])),
            "aa": jax.vmap(lambda predictions: played(predictions, **SWEPT["aa"]))(said),
            "ridge": jax.vmap(lambda predictions: by_group(alone(problem, predictions, UNIT)))(said),
        }
        losses = {swept(kind, value): runs[kind][k] for kind in SWEPT for k, value in enumerate(grid)}
        losses |= {name: runs[kind][one] for name, kind in _POINTS.items()}
        losses |= {name: played(usual, **options) for name, options in OPTIONS.items()}
        losses |= {name: by_group(loss) for name, loss in fixed(problem, usual).items()}
        losses |= {"vaw": runs["anh"][-1], "without_always_on": played(usual[:, :-1], among=_without_last(problem))}
        return State(state.step + rounds), losses

    def alone(problem, predictions, clip) -> Float[Array, " T"]:
        """Loss of the expert of everybody."""
        said = predictions[:, -1] if clip is None else jnp.clip(predictions[:, -1], *clip)
        return jnp.where(problem.order >= 0, (said - ridge.labels_of(problem, problem.order)) ** 2, 0)

    def fixed(problem, predictions) -> dict[str, Float[Array, " T"]]:
        clipped = params()
        sizes = jnp.asarray(config.algo.step_sizes, dtype)
        descents = jax.vmap(lambda size: baselines.gradient_descent(problem, clipped, size).loss)(sizes)
        return {
            "online_ridge": alone(problem, predictions, None),
            "smallest_group": baselines.smallest_group(problem, clipped, predictions).loss,
            "uniform_average": baselines.uniform_average(problem, clipped, predictions).loss,
            "gradient_descent": descents[jnp.argmin(jnp.sum(descents, axis=1))],
        }

    def init():
        table = source.load()
        problem = problems.from_arrays(table.features, table.labels, table.awake, dtype=dtype)
        groupwise.validate(problem, params())
        order = jnp.asarray(row_orders(config, source, table))
        state = State(jnp.zeros((replicates,), jnp.int32))
        return Data(sharding.replicated(problem, mesh), sharding.split_replicates(order, mesh)), (
            sharding.split_replicates(state, mesh)
        )

    def abstract():
        num_groups = len(source.groups)
        table = groupwise.Problem(
            jax.ShapeDtypeStruct((source.num_rows, source.num_features), dtype),
            jax.ShapeDtypeStruct((source.num_rows,), dtype),
            jax.ShapeDtypeStruct((source.num_rows, num_groups), jnp.bool_),
            jax.ShapeDtypeStruct((num_groups,), dtype),
        )
        order = sharding.split_replicates(jax.ShapeDtypeStruct((replicates, rounds), jnp.int32), mesh)
        state = sharding.split_replicates(State(jax.ShapeDtypeStruct((replicates,), jnp.int32)), mesh)
        return Data(sharding.replicated(table, mesh), order), state

    lanes = mesh_lib.over_replicates(mesh, one_shuffle, shared=1)
    advance = jax.jit(lambda data, state: lanes(data.table, data.order, state))
    return Program(init, advance, abstract(), ("seed",), {"group": source.groups})


def _without_last(problem: groupwise.Problem) -> groupwise.Problem:
    prior = problem.prior[:-1]
    return dataclasses.replace(problem, awake=problem.awake[:, :-1], prior=prior / jnp.sum(prior))


def drive(config, run, mesh, source: Source) -> None:
    """Runs the program and adds the losses in hindsight to the results."""
    driver.drive(program(config, mesh, source), config, run)
    if "hindsight" not in run.results:
        table = source.load()
        run.results(hindsight=oracles.hindsight_groups(np.asarray(table.features), table.labels, table.awake))
