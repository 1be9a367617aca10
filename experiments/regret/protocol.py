"""The comparison that most experiments of this family make: one pass of the experts, many ways to combine them.

A replicate is an order of the rows. In a chunk the experts see the next rounds once (`ridge.run`), and every method of
`METHODS` plays the same predictions. An experiment gives a `Source`: what its data looks like, how to load it and in
which order to show it.

Metrics, cumulative, each `[R, G]`:

    rounds                   rounds of the group so far
    loss/<method>            the method's loss over the rounds of the group
    expert, expert_clip      loss of the group's own expert over the same rounds, without and with clipping
    ridge_value, logdet      M_g(lambda) and ln det; their sum bounds expert_clip (T2)
    meta_bound/<method>      bound on loss/<method> - expert_clip (T1, T4), for the methods that the theorems cover

Results: `hindsight [K, R, G]` at the steps `hindsight_step [K]`, and `hindsight_paper [R, G]`; see `hindsight`.
Shape letters: `R` replicates, `T` rounds, `N` rows, `G` groups, `d` features, `K` points.
"""

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import driver
from experiments.lib import mesh as mesh_lib
from experiments.lib import program as program_lib
from experiments.lib.program import Program
from research.core import sharding, validate
from research.core.types import Array, Float, Int
from research.regret import baselines, groupwise, oracles, problems, ridge

__all__ = [
    "AGGREGATED", "FIXED", "METHODS", "Data", "Source", "State", "covered", "drive", "hindsight", "program",
    "row_orders", "shuffle_seed",
]  # fmt: skip

UNIT = (0.0, 1.0)  # the range of the labels; clipping predictions to it brings a method under the theorems

#: Methods that aggregate the experts: options of `groupwise.Params`.
AGGREGATED = {
    "anh": {"meta": "anh", "combine": "expected", "clip": None},  # the paper's
    "anh_clip": {"meta": "anh", "combine": "expected", "clip": UNIT},
    "anh_mean": {"meta": "anh", "combine": "mean", "clip": UNIT},  # the default of the product
    "anh_mean_unclipped": {"meta": "anh", "combine": "mean", "clip": None},
    "aa": {"meta": "aa", "combine": "mean", "clip": UNIT},
    "ewa": {"meta": "ewa", "combine": "mean", "clip": UNIT},
}


def _always_on(problem: groupwise.Problem, params: groupwise.Params, predictions: Float[Array, "T G"]) -> Array:
    """Loss `[T]` of the last group's expert: one online ridge for everybody, the paper's baseline."""
    said = predictions[:, -1] if params.clip is None else jnp.clip(predictions[:, -1], *params.clip)
    return jnp.where(problem.order >= 0, (said - ridge.labels_of(problem, problem.order)) ** 2, 0)


#: Methods without a state: loss `[T]` from the experts' predictions, and the clipping of those.
FIXED = {
    "baseline": (_always_on, None),
    "baseline_clip": (_always_on, UNIT),
    "smallest_group": (lambda *args: baselines.smallest_group(*args).loss, UNIT),
    "uniform": (lambda *args: baselines.uniform_average(*args).loss, UNIT),
}
METHODS = (*FIXED, *AGGREGATED)


class Source(NamedTuple):
    """A data set. The last group must be `always_on`, everybody.

    Attributes:
      num_rows, num_features, groups: known without the data.
      load: the table, on the host.
      arrange: `(table, rows [n]) -> [n]`, the order in which a shuffled sample of rows is shown; None: as shuffled.
      prior: `(table) -> [G]`; None: uniform.
    """

    num_rows: int
    num_features: int
    groups: tuple[str, ...]
    load: Callable[[], problems.Table]
    arrange: Callable[[problems.Table, np.ndarray], np.ndarray] | None = None
    prior: Callable[[problems.Table], np.ndarray] | None = None


class Data(NamedTuple):
    table: groupwise.Problem  # without an order; one for all replicates
    order: Int[Array, "R T"]  # row shown in each round


class Sum(NamedTuple):
    """A compensated sum: float32 keeps all its digits over 1e5 rounds."""

    total: Float[Array, " G"]
    carry: Float[Array, " G"]


class State(NamedTuple):
    """Of one replicate; in a program every leaf has a leading axis `R`."""

    experts: ridge.State
    metas: dict[str, groupwise.Meta]
    fixed: dict[str, Sum]
    rounds: Int[Array, " G"]


def covered(method: str) -> bool:
    """Whether the bounds speak of this method: an aggregation of clipped experts."""
    return method in AGGREGATED and AGGREGATED[method]["clip"] == UNIT


def shuffle_seed(seed: int, replicate: int) -> int:
    """Seed of a replicate's shuffle. Under seed 0 the first ten are the paper's; all others are above 1000."""
    if seed == 0 and replicate < len(problems.PAPER_SEEDS):
        return problems.PAPER_SEEDS[replicate]
    return 1_000_000 * seed + 1000 + replicate


def row_orders(config, source: Source, table: problems.Table) -> Int[np.ndarray, "R T"]:
    """The rows that each replicate sees in its `config.run.num_steps` rounds; -1 once there are no more."""
    num_rows, num_steps = len(table.labels), config.run.num_steps
    orders = np.full((config.run.replicates, num_steps), -1, np.int32)
    shown = min(num_rows, num_steps)
    for r in range(config.run.replicates):
        rows = problems.permutation(shuffle_seed(config.seed, r), num_rows)[:shown]
        orders[r, :shown] = rows if source.arrange is None else source.arrange(table, rows)
    return orders


def program(config, mesh, source: Source) -> Program:
    """The comparison as a program; `config.algo.methods` lists the methods."""
    methods = tuple(config.algo.methods)
    for method in methods:
        validate.one_of("config.algo.methods", method, METHODS)
    chunk = config.run.chunk
    shared = {
        "num_steps": chunk, "regularization": config.algo.regularization, "forecaster": config.algo.forecaster,
        "form": config.algo.form, "block_size": config.algo.block_size,
    }  # fmt: skip
    params = {name: groupwise.Params(**shared, **AGGREGATED[name]) for name in methods if name in AGGREGATED}
    plain = {name: groupwise.Params(**shared, clip=FIXED[name][1]) for name in methods if name in FIXED}
    experts = ridge.Params(chunk, **{name: value for name, value in shared.items() if name != "num_steps"})

    def start(table: groupwise.Problem) -> State:
        zeros = jnp.zeros_like(table.prior)
        return State(
            experts=ridge.init(table, experts),
            metas={name: groupwise.init_meta(table, params[name]) for name in params},
            fixed={name: Sum(zeros, zeros) for name in ("expert", "expert_clip", *plain)},
            rounds=jnp.zeros(table.prior.shape, jnp.int32),
        )

    def init():
        table = source.load()
        dtype = program_lib.number(config)
        prior = None if source.prior is None else source.prior(table)
        problem = problems.from_arrays(table.features, table.labels, table.awake, prior, dtype=dtype)
        groupwise.validate(problem, groupwise.Params(**shared))
        state = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], config.run.replicates, axis=0), start(problem))
        order = jnp.asarray(row_orders(config, source, table))
        return (
            Data(sharding.replicated(problem, mesh), sharding.split_replicates(order, mesh)),
            sharding.split_replicates(state, mesh),
        )

    def one_chunk(table: groupwise.Problem, order, state: State):
        problem = dataclasses.replace(table, order=order)
        begin = state.experts.step
        rows = ridge.rows_shown(problem, begin, chunk)
        seen = ridge.run(problem, experts, state=state.experts)
        predictions = seen.trace.predictions
        metas = {
            name: groupwise.aggregate(problem, params[name], predictions, state.metas[name], start=begin)[0]
            for name in params
        }
        now = dataclasses.replace(table, order=rows)
        awake, label = ridge.awake_in(now, rows), ridge.labels_of(now, rows)
        losses = {name: FIXED[name][0](now, plain[name], predictions)[:, None] for name in plain}
        losses |= {
            "expert": (predictions - label[:, None]) ** 2,
            "expert_clip": (jnp.clip(predictions, *UNIT) - label[:, None]) ** 2,
        }
        fixed = {
            name: Sum(*ridge.add_exactly(*state.fixed[name], jnp.sum(awake * losses[name], axis=0))) for name in losses
        }
        rounds = state.rounds + jnp.sum(awake, axis=0).astype(jnp.int32)
        state = State(seen.state, metas, fixed, rounds)
        return state, _metrics(problem, params, state)

    lanes = mesh_lib.over_replicates(mesh, one_chunk, shared=1)
    advance = jax.jit(lambda data, state: lanes(data.table, data.order, state))
    axes = {"group": source.groups, "method": methods}
    return Program(init, advance, _abstract(config, mesh, source, start), ("seed", "algo.regularization"), axes)


def _metrics(problem, params, state: State) -> dict[str, Float[Array, " G"]]:
    metrics = {"rounds": state.rounds, "ridge_value": state.experts.ridge_value, "logdet": state.experts.logdet}
    for name, tally in state.fixed.items():
        metrics[name if name.startswith("expert") else f"loss/{name}"] = tally.total
    for name, meta in state.metas.items():
        metrics[f"loss/{name}"] = meta.group_loss
        if covered(name):
            metrics[f"meta_bound/{name}"] = groupwise.meta_regret_bound(problem, params[name], meta)
    return metrics


def _abstract(config, mesh, source: Source, start) -> tuple[Data, State]:
    num_rows, num_groups = source.num_rows, len(source.groups)
    number = program_lib.number(config)
    table = groupwise.Problem(
        jax.ShapeDtypeStruct((num_rows, source.num_features), number), jax.ShapeDtypeStruct((num_rows,), number),
        jax.ShapeDtypeStruct((num_rows, num_groups), jnp.bool_), jax.ShapeDtypeStruct((num_groups,), number),
    )  # fmt: skip
    order = jax.ShapeDtypeStruct((config.run.replicates, config.run.num_steps), jnp.int32)
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((config.run.replicates, *leaf.shape), leaf.dtype),
        jax.eval_shape(start, table),
    )
    data = Data(sharding.replicated(table, mesh), sharding.split_replicates(order, mesh))
    return data, sharding.split_replicates(state, mesh)


def drive(config, run, mesh, source: Source) -> None:
    """Runs the program and adds the losses in hindsight to the results."""
    driver.drive(program(config, mesh, source), config, run)
    if "hindsight" not in run.results:
        run.results(**hindsight(config, source, run.curves["step"], run.curves["rounds"]))


def hindsight(
    config, source: Source, steps: Int[np.ndarray, " P"], rounds: Int[np.ndarray, "P R G"]
) -> dict[str, np.ndarray]:
    """Least squares of each group's rounds so far, in float64, at about `config.run.oracle_points` of the logged steps.

    Args:
      steps, rounds: what was logged.

    Returns:
      `hindsight_step [K]`; `hindsight [K, R, G]`; and `hindsight_paper [R, G]`, that of all rounds of the group but its
      last, with which the published tables compare the loss of all rounds.
    """
    table = source.load()
    orders = row_orders(config, source, table)
    points = np.unique(np.linspace(0, len(steps) - 1, min(config.run.oracle_points, len(steps))).round().astype(int))

    def of_replicate(order, seen):
        shown = order[order >= 0]
        values = np.zeros((len(points) + 1, len(source.groups)))
        for g, member in enumerate(table.awake[shown].T):
            rows = shown[member]
            wanted = np.append(seen[:, g], max(len(rows) - 1, 0))
            lengths, place = np.unique(wanted, return_inverse=True)
            values[:, g] = oracles.hindsight_prefixes(table.features[rows], table.labels[rows], lengths)[place]
        return values

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # LAPACK lets other threads run
        values = np.stack(list(pool.map(of_replicate, orders, np.moveaxis(rounds[points], 1, 0))), axis=1)
    return {"hindsight_step": steps[points], "hindsight": values[:-1], "hindsight_paper": values[-1]}
