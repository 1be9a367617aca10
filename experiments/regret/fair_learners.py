"""The learners of the fairness experiment, side by side in one program, and the two baselines that run on the host.

Metrics, prequential, each `[R, L]` with a lane per strength of the penalty (`config.algo.fairness`, by learner):

    accuracy/<learner>     share of correct predictions so far
    disparity/<learner>    mean prediction of protected class 1 minus that of class 0 so far

Results: `majority_share [S]` with `majority_accuracy`, `majority_gap` `[R, S]` (the forest without penalty, replaced by
the past majority on a share of the rounds), and `hoeffding_accuracy`, `hoeffding_gap` `[points]`.
Shape letters: `R` replicates, `L` lanes, `T` rows, `S` shares.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data import adult
from experiments.lib import mesh as mesh_lib
from experiments.lib import program as program_lib
from experiments.lib.errors import RunError
from experiments.lib.program import Program
from research.core import prng, sharding, validate
from research.core.types import Array, Float, Int
from research.regret import fairness_baselines, oblique_tree, online_mlp, parity, reservoir_tree

__all__ = ["LEARNERS", "Data", "State", "hoeffding", "majority_line", "program"]

#: Module of each learner, and its own knobs in `config.algo`.
LEARNERS = {
    "aranyani": (oblique_tree, ("depth", "num_trees")),
    "mlp": (online_mlp, ("width",)),
    "reservoir": (reservoir_tree, ("depth", "num_trees", "capacity")),
}


class Data(NamedTuple):
    problem: oblique_tree.Problem  # one for all replicates
    fairness: dict[str, Float[Array, " L"]]  # by learner


class State(NamedTuple):
    """Of one replicate; in a program every leaf has a leading axis `R`."""

    row: Int[Array, ""]  # rows seen
    learners: dict  # name -> its state, every leaf with a leading axis `L`


def program(config, mesh) -> Program:
    """All learners over `config.problem.num_rows` rows; steps after the last row change nothing."""
    algo, num_rows, chunk = config.algo, config.problem.num_rows, config.run.chunk
    validate.in_range("config.problem.num_rows", num_rows, 1, adult.ENCODED_SHAPE[0])
    for name in algo.fairness:
        validate.one_of("config.algo.fairness", name, LEARNERS)
    names = tuple(sorted(algo.fairness))

    def params(name, fairness):
        module, knobs = LEARNERS[name]
        own = {knob: algo[knob] for knob in knobs}
        return module.Params(num_steps=chunk, fairness=fairness, step_size=algo.step_size, **own)

    def start(problem, grids, key) -> State:
        """Every lane of a learner starts from the same draw, and so do the forest and its reservoir twin."""
        key = prng.stream(key, "start")

        def lanes(name):
            one = LEARNERS[name][0].init(problem, params(name, 0.0), key)
            return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], len(grids[name]), axis=0), one)

        return State(jnp.int32(0), {name: lanes(name) for name in names})

    def starts(problem, grids) -> State:
        keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
        return jax.vmap(lambda key: start(problem, grids, key))(keys)

    def init():
        records = adult.encoded(config.problem.source)
        dtype = program_lib.number(config)
        features, labels, protected = (rows[:num_rows] for rows in records[:3])
        problem = oblique_tree.Problem(jnp.asarray(features, dtype), jnp.asarray(labels), jnp.asarray(protected))
        parity.validate_stream(problem.features, problem.labels, problem.protected, num_rows)
        grids = {name: jnp.asarray(algo.fairness[name], dtype) for name in names}
        state = jax.jit(starts)(problem, grids)
        return sharding.replicated(Data(problem, grids), mesh), sharding.split_replicates(state, mesh)

    def one_chunk(data: Data, begin, count, state: State):
        problem = data.problem

        def one_row(i, learners):
            row = begin + i
            example = problem.features[row], problem.labels[row], problem.protected[row]

            def learn(name):
                def lane(fairness, learner):
                    return LEARNERS[name][0].learn(params(name, fairness), learner, *example)[0]

                return jax.vmap(lane)(data.fairness[name], learners[name])

            return {name: learn(name) for name in names}

        learners = jax.lax.fori_loop(0, count, one_row, state.learners)
        metrics = {}
        for name in names:
            dtype = problem.features.dtype
            metrics[f"accuracy/{name}"] = parity.accuracy(learners[name].metrics, dtype)
            metrics[f"disparity/{name}"] = parity.disparity(learners[name].metrics, dtype)
        return State(state.row + count, learners), metrics

    lanes = mesh_lib.over_replicates(mesh, one_chunk, shared=3)

    @jax.jit
    def advance(data: Data, state: State):
        begin = state.row[0]  # the same in every replicate; shared, so that a row is fetched once for all lanes
        return lanes(data, begin, jnp.clip(num_rows - begin, 0, chunk), state)

    axes = {f"fairness/{name}": tuple(f"{value:g}" for value in algo.fairness[name]) for name in names}
    return Program(init, advance, _abstract(config, mesh, names, starts), ("seed",), axes)


def _abstract(config, mesh, names, starts) -> tuple[Data, State]:
    number = program_lib.number(config)
    rows, columns = config.problem.num_rows, adult.ENCODED_SHAPE[1]
    problem = oblique_tree.Problem(
        jax.ShapeDtypeStruct((rows, columns), number), *(jax.ShapeDtypeStruct((rows,), jnp.int32) for _ in range(2))
    )
    grids = {name: jax.ShapeDtypeStruct((len(config.algo.fairness[name]),), number) for name in names}
    state = jax.eval_shape(starts, problem, grids)
    return sharding.replicated(Data(problem, grids), mesh), sharding.split_replicates(state, mesh)


def majority_line(data: Data, state: State, points: int = 21) -> dict[str, np.ndarray]:
    """The forest's lane of the weakest penalty, post-processed."""
    lane = int(np.argmin(np.asarray(data.fairness["aranyani"])))
    counts = jax.tree.map(lambda leaf: leaf[:, lane], state.learners["aranyani"].metrics)
    constant = fairness_baselines.majority_metrics(data.problem.labels, data.problem.protected)
    share = jnp.linspace(0, 1, points)
    line = fairness_baselines.majority_mixture(counts, constant, share)
    return {"majority_share": share, "majority_accuracy": line.accuracy, "majority_gap": line.parity_gap}


def hoeffding(data: Data, steps: Int[np.ndarray, " points"]) -> dict[str, np.ndarray]:
    """River's Hoeffding tree on the same rows in the same order, at the logged steps; it has no parity penalty.

    Raises:
      RunError: river is not installed.
    """
    try:
        from river.tree import HoeffdingTreeClassifier
    except ImportError as error:
        raise RunError("the Hoeffding tree needs river: pip install river (part of the extra figures).") from error
    features, labels, protected = (np.asarray(rows) for rows in jax.tree.leaves(data.problem))
    tree = HoeffdingTreeClassifier()
    said = np.zeros(len(labels), np.int64)
    for row, (x, label) in enumerate(zip(features.astype(np.float64), labels.tolist(), strict=True)):
        example = dict(enumerate(x.tolist()))
        said[row] = tree.predict_one(example) or 0  # None before the first label
        tree.learn_one(example, label)
    seen = np.minimum(steps, len(labels)) - 1
    correct = np.cumsum(said == labels)[seen] / (seen + 1)
    rates = [np.cumsum(said * (protected == a))[seen] / np.cumsum(protected == a)[seen] for a in (0, 1)]
    return {"hoeffding_accuracy": correct, "hoeffding_gap": np.abs(rates[1] - rates[0])}
