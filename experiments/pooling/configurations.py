"""Whether weight sharing ranks pooling configurations as training them alone does, by number of supernets.

The pictures are handwritten digits; half of them train, of the others `problem.held` validate. A replicate is a seed
for weights and batches. Rows: every configuration in a network of its own, in turn; and mixtures of the numbers of
supernets in `algo.mixtures`. A step is an update of every mixture, and `algo.alone` updates of those networks. Metrics,
`[R, row]`: `loss`, the mean over the chunk; `held`, the mean accuracy on validation batches.
Results: `alone [R, A]`, validation accuracies of configurations trained alone; `expected` and `best [R, mixture, A]`,
scores of the mixtures; `probability [R, mixture, A, M]`, the last one; `placements [A, pools]`.
Algorithm: `research.pooling.search`.
"""

from experiments.lib import app


def labels(config) -> tuple[str, ...]:
    """Of the rows, in the order of metrics."""
    return "alone", *(f"M = {count}" for count in config.algo.mixtures)


def problem_of(config):
    """Pictures in a fixed random order, as the search takes them."""
    import jax.numpy as jnp
    import numpy as np

    from experiments.data import digits
    from experiments.lib.program import number
    from research.pooling import search, supernet

    found, asked = digits.load(), config.problem
    order = np.random.default_rng(asked.instance_seed).permutation(digits.NUM)
    half = digits.NUM // 2
    images = jnp.asarray(found.images[order], number(config))[..., None]
    labels = jnp.asarray(found.labels[order])
    network = supernet.Network(asked.blocks, asked.channels, digits.CLASSES)
    places = supernet.placements(asked.blocks, asked.pools)
    held = slice(half, half + asked.held)
    return search.Problem(network, places, images[:half], labels[:half], images[held], labels[held])


def _shape(config):
    """The problem's shapes, without its data."""
    import jax
    import jax.numpy as jnp

    from experiments.data import digits
    from experiments.lib.program import number
    from research.pooling import search, supernet

    asked = config.problem
    network = supernet.Network(asked.blocks, asked.channels, digits.CLASSES)
    counts = digits.NUM // 2, min(asked.held, digits.NUM - digits.NUM // 2)
    images = [jax.ShapeDtypeStruct((count, 8, 8, 1), number(config)) for count in counts]
    labels = [jax.ShapeDtypeStruct((count,), jnp.int32) for count in counts]
    places = supernet.placements(asked.blocks, asked.pools)
    return search.Problem(network, places, images[0], labels[0], images[1], labels[1])


def _params(config, used, assigned, factor=1):
    from research.pooling import search, supernet

    algo = config.algo
    return search.Params(
        num_steps=config.run.chunk, networks=len(supernet.placements(config.problem.blocks, config.problem.pools)),
        used=used, assigned=assigned, batch=algo.batch, epoch=algo.epoch, horizon=factor * config.run.num_steps,
        learning_rate=tuple(algo.learning_rate), temperature=tuple(algo.temperature),
    )  # fmt: skip


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.core import prng
    from research.pooling import search

    used = jnp.array([1, *config.algo.mixtures])
    assigned = jnp.arange(len(used)) == 0
    factor = jnp.where(assigned, config.algo.alone, 1)
    # One loop over what is to be run: the network is compiled once, not once for each kind of row.
    turns = jnp.array([0] * config.algo.alone + list(range(1, len(used))))

    def start(problem, key):
        def one(used, assigned, factor):
            return search.init(problem, _params(config, used, assigned, factor), key)

        return jax.vmap(one)(used, assigned, factor)

    def advance(problem, _, states):
        def one(states, row):
            params = _params(config, used[row], assigned[row], factor[row])
            result = search.run(problem, params, state=jax.tree.map(lambda leaf: leaf[row], states))
            states = jax.tree.map(lambda leaf, new: leaf.at[row].set(new), states, result.state)
            return states, (result.trace.loss.mean(), result.trace.accuracy.mean())

        states, (loss, held) = jax.lax.scan(one, states, turns)
        last = slice(config.algo.alone - 1, None)
        return states, {"loss": loss[last], "held": held[last]}

    return lanes.program(
        config, mesh, draw=lambda key: prng.stream(key, "search"), start=start, advance=advance,
        common=lambda: problem_of(config), common_shape=_shape(config), axes={"row": labels(config)}, in_turn=True,
        start_from_common=True,
    )  # fmt: skip


def scores(config, problem, states):
    """Results of the module's docstring."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np

    from research.pooling import search

    most = max(config.algo.mixtures)

    @jax.jit
    def alone(weights):
        return jax.lax.map(lambda pair: search.accuracy(problem, *pair), (weights, jnp.arange(len(problem.placements))))

    mixed = jax.jit(functools.partial(search.accuracies, problem))
    found = {"alone": [], "expected": [], "best": [], "probability": []}
    for seed in range(config.run.replicates):
        state = jax.tree.map(lambda leaf: leaf[seed], states)  # noqa: B023
        found["alone"].append(alone(jax.tree.map(lambda leaf: leaf[0], state.weights)))
        rows = []
        for at, count in enumerate(config.algo.mixtures, 1):
            table = mixed(jax.tree.map(lambda leaf: leaf[at, :most], state.weights))[:, :count]  # noqa: B023
            share = state.probability[at, :, :count]
            rows.append((search.ranking(table, share), search.ranking(table, share, "max")))
        found["expected"].append([one for one, _ in rows])
        found["best"].append([one for _, one in rows])
        found["probability"].append(state.probability[1:, :, :most])
    return {name: np.array(values) for name, values in found.items()} | {"placements": np.array(problem.placements)}


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_configurations

    (problem, _), states = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**scores(config, problem, states))
    run.look(panels_configurations.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/configurations.py")
