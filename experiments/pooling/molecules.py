"""Graph networks with any of five pools on molecules, the user's of the Open Graph Benchmark or a stand-in.

A replicate is a seed, a step an optimiser step on a batch of packs, in which molecules stand side by side
(`experiments.data.molecule_packs`). The loss is cross entropy over all labels that are known; norms are of the whole
batch (`experiments.lib.striped`: the same on any number of devices). Metrics, `[R]`, of a chunk of steps: `loss`, nats
per label, mean of the chunk; after it `validation/loss` and `validation/<metric>` on the split `valid`, and
`validation/test_<metric>` on `test`, to be read where the former is best. The metric is `roc_auc` or
`average_precision`, exact (`research.core.ranking`), mean over tasks of which both classes are known.
Source: `cangea:18`, `song:24` and `galron:26` for the pools; `hu-ogb:20` for the data, the metrics and the network.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from experiments.data import molecule_packs, molecules
    from experiments.lib import striped
    from experiments.pooling import molecule_models
    from research.core import ranking
    from research.core import validate as checks

    asked, algo, run = config.problem, config.algo, config.run
    checks.one_of("config.problem.metric", asked.metric, tuple(ranking.__all__))
    checks.at_least("config.problem.packings", asked.packings, 1)
    room = molecule_packs.Room(asked.atoms, asked.bonds, asked.room)
    model = molecule_models.build(algo, molecules=asked.room, tasks=asked.tasks, axis_name=striped.axis_name(mesh))

    def losses(logits, packs):
        return jnp.where(packs.known, optax.sigmoid_binary_cross_entropy(logits, packs.labels), 0)

    def objective(weights, statistics, packs, keys, _):
        logits, statistics = model.apply(weights, statistics, packs, keys)
        weight = jnp.sum(packs.known, dtype=jnp.float32)
        return {"loss": jnp.sum(losses(logits, packs)), "weight": weight}, statistics

    def predict(weights, statistics, packs):
        return model.apply(weights, statistics, packs, None)[0]

    def judge(logits, packs):
        def flat(leaf):  # [2 splits, packs and molecules, tasks]
            return leaf.reshape(2, -1, leaf.shape[-1])

        found = jax.vmap(jax.vmap(getattr(ranking, asked.metric), in_axes=1))
        scores, known, positive = flat(logits), flat(packs.known), flat(packs.labels) == 1
        both = (known & positive).any(axis=1) & (known & ~positive).any(axis=1)
        each = jnp.where(both, found(scores, positive, known), 0)
        valid, test = jnp.sum(each, axis=1) / jnp.sum(both, axis=1)
        loss = flat(losses(logits, packs))[0].sum() / known[0].sum()
        return {"loss": loss, asked.metric: valid, f"test_{asked.metric}": test}

    def load():
        parts = molecules.load(asked.source, molecules=asked.molecules, tasks=asked.tasks)

        def packed(split, packs, seed=0):
            return molecule_packs.pack(parts[split], packs, room, seed=seed, name=f"{split} of {asked.source}")

        def joined(packs):
            return jax.tree.map(lambda *leaves: np.concatenate(leaves), *packs)

        train = [packed("train", asked.train, seed) for seed in range(asked.packings)]
        return joined(train), joined([packed("valid", asked.held_out), packed("test", asked.held_out)])

    sizes = (asked.packings * asked.train, 2 * asked.held_out)
    like = tuple(molecule_packs.like(size, room, asked.tasks) for size in sizes)
    rate = optax.warmup_cosine_decay_schedule(0.0, algo.learning_rate, algo.warmup, run.num_steps)
    task = striped.Task(model.init, objective, predict, judge, jax.random.split)
    # A shift of all atoms is taken out again by the norms: its gradient is rounding, which must not be scaled up.
    optimizer = optax.adam(rate, eps=1e-6)
    return striped.program(config, mesh, task, optimizer=optimizer, load=load, like=like)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_molecules

    driver.drive(program(config, mesh), config, run)
    run.look(panels_molecules.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/molecules.py")
