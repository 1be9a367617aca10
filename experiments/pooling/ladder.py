"""How many marked nodes tell graphs apart: 1,l-WL on the atlas of graphs, and relational pooling on three hard pairs.

A replicate is a salt of the hashes, a random order of every graph's nodes, and random weights of the network; a step is
all of it. Metrics: `unresolved [R, marks]`, pairs of graphs of the atlas with the same 1,l-WL fingerprint, none of
which are isomorphic, l = 0, 1, ...; `unresolved/pairs_of_nodes`, those with the same folklore 2-WL fingerprint, without
marks.
Of each hard pair, `apart/<pair>` [R, marks], whether fingerprints differ; `gap/<pair>`, |RP(G) - RP(H)| / |RP(G)| of a
random network's mean over all marked copies; `error/<pair> [R, samples]`, |estimate - RP(G)| / |RP(G)|, as root mean
square, when so many tuples are drawn, most marks. Of the last pair, `share`, of its tuples that betray it, and
`missed [R, samples]`, how often so many random tuples are all of the others.
Theorems: `research.pooling.graph_bounds.PAIRS`, `missed`. Source: `zhou-relational:23`.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.data import graph_atlas
    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.pooling import graph_bounds, graphs, refinement, relational

    setting, dtype = config.problem, number(config)
    most, samples = setting.marks, tuple(setting.samples)
    count = graph_atlas.with_at_most(setting.atlas_nodes)
    names = list(graph_bounds.PAIRS)
    both = [adjacency for pair in graph_bounds.PAIRS.values() for adjacency in pair[:2]]
    hard = np.stack([np.pad(adjacency, (0, setting.pair_nodes - len(adjacency))) for adjacency in both])
    hard_masks = np.arange(setting.pair_nodes) < np.array([len(adjacency) for adjacency in both])[:, None]
    tuples, level = (jnp.asarray(part) for part in relational.tuples_up_to(setting.pair_nodes, most))

    def common():
        atlas = graph_atlas.load(setting.atlas_nodes)
        return jnp.asarray(atlas.adjacency), jnp.asarray(atlas.node_mask)

    shape = (setting.atlas_nodes,) * 2
    common_shape = (
        jax.ShapeDtypeStruct((count, *shape), bool), jax.ShapeDtypeStruct((count, setting.atlas_nodes), bool),
    )  # fmt: skip

    def shuffled(key, adjacency, node_mask):
        place = jax.random.permutation(key, adjacency.shape[0])
        return adjacency[place][:, place], node_mask[place]

    def unresolved(prints):
        same = (prints[:, None] == prints[None]).all(axis=-1)
        return (jnp.sum(same) - prints.shape[0]) // 2

    def values(key, adjacency, node_mask):
        """A random network's output on every marked copy of a graph, given as a matrix."""
        one, other = np.triu_indices(setting.pair_nodes, 1)
        graph = graphs.build(
            jnp.ones((setting.pair_nodes, 1), dtype), one, other, node_mask=node_mask, edge_mask=adjacency[one, other]
        )
        net = relational.SumNetwork.create(key, 1 + most, config.algo.hidden, config.algo.layers)
        net = jax.tree.map(lambda leaf: leaf.astype(dtype), net)
        return jax.vmap(lambda nodes: net(relational.marked(graph, nodes)))(tuples)

    def mean_by_marks(values, taken):
        """Relational pooling with 0, 1, ... marks."""
        kept = jnp.where(taken[:, None], values, 0)
        sums, counts = (jax.ops.segment_sum(part, level, most + 1) for part in (kept, taken.astype(dtype)))
        return sums / counts[:, None]

    def advance(atlas, drawn, state):
        key, salt = drawn
        order = jax.random.split(prng.stream(key, "order"), count)
        adjacency, node_mask = jax.vmap(shuffled)(order, *atlas)
        marked = jax.vmap(lambda *graph: refinement.ladder(*graph, most, salt).prints)(adjacency, node_mask)
        pairs_of_nodes = jax.vmap(lambda *graph: refinement.ladder(*graph, 0, salt, k=2).prints[0])
        found = {
            "unresolved": jax.lax.map(unresolved, jnp.swapaxes(marked, 0, 1)),
            "unresolved/pairs_of_nodes": unresolved(pairs_of_nodes(adjacency, node_mask)),
        }
        places = jax.random.split(prng.stream(key, "pairs"), 2 * len(names))
        pairs, masks = jax.vmap(shuffled)(places, hard, hard_masks)
        climbed = jax.vmap(lambda *graph: refinement.ladder(*graph, most, salt))(pairs, masks)
        weights = prng.stream(key, "weights")
        outputs = jax.vmap(lambda *graph: values(weights, *graph))(pairs, masks)
        means = jax.vmap(mean_by_marks)(outputs, climbed.valid)
        apart = (climbed.prints[0::2] != climbed.prints[1::2]).any(axis=-1)
        gap = _norm(means[0::2] - means[1::2]) / _norm(means[0::2])
        for place, name in enumerate(names):
            found[f"apart/{name}"], found[f"gap/{name}"] = apart[place].astype(jnp.int32), gap[place]
        top = len(tuples) - setting.pair_nodes**most  # where the tuples with all marks begin
        mine, theirs = climbed.colours[-2:, top:]
        taken = climbed.valid[-2, top:]
        found |= sampled(key, masks[-2], mine, theirs, taken, outputs[-2, top:], means[-2, -1])
        return state + 1, found

    def sampled(key, mask, mine, theirs, taken, outputs, exact):
        """What random tuples of the last pair's first graph find."""
        tell = taken & ~((mine[:, None] == theirs[None]).all(axis=-1) & taken[None]).any(axis=1)
        drawn = relational.sample_tuples(prng.stream(key, "tuples"), mask, most, setting.trials * samples[-1])
        place = (drawn @ setting.pair_nodes ** jnp.arange(most - 1, -1, -1)).reshape(setting.trials, samples[-1])
        missed = jnp.stack([jnp.mean(~tell[place[:, :size]].any(axis=1)) for size in samples])
        # Means of the first so many of the drawn tuples, each row of trials an estimate.
        means = jnp.cumsum(outputs[place], axis=1)
        means = jnp.stack([means[:, size - 1] / size for size in samples])
        error = jnp.sqrt(jnp.mean(_norm(means - exact[None, None]) ** 2, axis=1)) / _norm(exact)
        return {f"error/{names[-1]}": error, "share": jnp.sum(tell) / jnp.sum(taken), "missed": missed.astype(dtype)}

    def draw(key):
        return key, jax.random.bits(prng.stream(key, "salt"), (), jnp.uint32)

    return lanes.program(
        config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, common=common,
        common_shape=common_shape, in_turn=True,
        axes={"marks": tuple(map(str, range(most + 1))), "samples": tuple(map(str, samples))},
    )  # fmt: skip


def _norm(x):
    import jax.numpy as jnp

    return jnp.sqrt(jnp.sum(x**2, axis=-1))


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_ladder

    driver.drive(program(config, mesh), config, run)
    run.look(panels_ladder.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/ladder.py")
