"""Rounds until a graph is parsed, against log2 of its nodes: trees, grids, random graphs, and the slowest path.

A case is a family and a number of nodes n; all are padded to the largest n and run as one batch. Families: "path", with
the scores that need most rounds; "tree", each node joined to a random earlier one; "grid"; "sparse", 2 n random pairs,
loops and copies included. Scores are uniform but for the path's. A replicate is a seed, a step all of it.
Metrics `[R, case]`: `rounds` of the forest with scores kept, `rescored`, those of graph parsing, whose scores follow
the pooled features, `bound`, floor(log2 n) of the largest component, `excess`, the most by which a round has left more
clusters than its bound, in clusters; `forest`, edges of the forest; `weight`, their scores' sum. Of the largest size
also `clusters/<family> [R, round]`, after each round.
Results: `weight` and `forest` `[case]` of the first replicate by another algorithm (SciPy's).
Theorems: `research.pooling.graph_bounds`. Source: `song:24`.
"""

from experiments.lib import app


def cases(setting) -> list[tuple[str, int]]:
    """Families and sizes."""
    return [(family, 2**exponent) for family in setting.families for exponent in setting.exponents]


def edges(drawn, family: str, size):
    """Ends, scores and which are edges, `[most]` each, of one graph from uniform draws `[3, most]`."""
    import jax
    import jax.numpy as jnp

    scores, place = drawn[0], jnp.arange(drawn.shape[1])
    if family == "path":
        halvings = jax.lax.population_count(((place + 1) & -(place + 1)) - 1)  # as `graph_bounds.slowest_path`
        return place, place + 1, -halvings.astype(scores.dtype), place < size - 1
    if family == "tree":
        return jnp.floor(drawn[1] * (place + 1)).astype(jnp.int32), place + 1, scores, place + 1 < size
    if family == "grid":
        width = 1 << ((31 - jax.lax.clz(size)) // 2)
        node, down = place // 2, place % 2 == 1
        other = jnp.where(down, node + width, node + 1)
        return node, other, scores, (other < size) & (down | (other % width != 0))
    one, other = (jnp.floor(part * size).astype(jnp.int32) for part in drawn[1:])
    return one, other, scores, place < 2 * size


def program(config, mesh):
    import functools

    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.core import prng
    from research.pooling import boruvka, graphs, parsing

    setting = config.problem
    asked = cases(setting)
    most = 2 ** max(setting.exponents)
    rounds = most.bit_length() - 1

    def draw(key):
        sizes = jnp.tile(2 ** jnp.array(setting.exponents, jnp.int32), len(setting.families))
        drawn = jax.random.uniform(key, (len(asked), 3, 2 * most))
        each = len(setting.exponents)
        parts = [
            jax.vmap(functools.partial(edges, family=family))(drawn[at : at + each], size=sizes[at : at + each])
            for at, family in zip(range(0, len(asked), each), setting.families, strict=True)
        ]
        one, other, scores, live = (jnp.concatenate(part) for part in zip(*parts, strict=True))
        # Padded edges have no ends of their own.
        one, other = (jnp.where(live, end, 0).astype(jnp.int32) for end in (one, other))
        return one, other, scores, live & (one != other), sizes, prng.stream(key, "features")

    def kept(one, other, scores, live, size):
        """The forest with scores kept, and how its rounds compare with the bounds."""
        nodes = jnp.arange(most) < size
        found = boruvka.spanning_forest(scores, one, other, num_nodes=most, edge_mask=live, node_mask=nodes)
        before = jnp.concatenate([jnp.arange(most, dtype=jnp.int32)[None], found.labels[:-1]])

        def joined(labels):
            apart = live & (labels[one] != labels[other])
            return jnp.zeros(most, bool).at[labels[one]].max(apart).at[labels[other]].max(apart).sum()

        can = jax.lax.map(joined, before)
        had = jnp.concatenate([size[None], found.num_clusters[:-1]])
        excess = jnp.max(found.num_clusters - (had - can + can // 2))
        largest = jnp.max(jnp.zeros(most, jnp.int32).at[found.labels[-1]].add(nodes))
        return {
            "rounds": found.num_rounds, "excess": excess, "bound": 31 - jax.lax.clz(largest),
            "forest": found.in_forest.sum(), "weight": jnp.sum(jnp.where(found.in_forest, scores, 0)),
        }, found.num_clusters  # fmt: skip

    def rescored(one, other, live, size, key):
        """Rounds of graph parsing, random scorer and f, until no edge is left."""
        params = parsing.GraphParsing.create(prng.stream(key, "params"), setting.channels, config.algo.hidden)
        x = jax.random.normal(key, (most, setting.channels))
        graph = graphs.build(x, one, other, node_mask=jnp.arange(most) < size, edge_mask=live)
        graph = parsing.simple_edges(graph, "drop")
        _, found = params(graph, num_graphs=1)
        count = found.cluster_mask.sum(axis=1)
        return jnp.sum(count < jnp.concatenate([size[None], count[:-1]]))

    def advance(_, drawn, state):
        *graph, size, key = drawn
        one, other, scores, live = graph
        metrics, clusters = jax.vmap(kept)(one, other, scores, live, size)
        metrics["rescored"] = jax.lax.map(lambda case: rescored(*case, key), (one, other, live, size))
        for family in setting.families:
            metrics[f"clusters/{family}"] = clusters[asked.index((family, most))]
        return state + 1, metrics

    labels = tuple(map(str, range(1, rounds + 1)))
    return lanes.program(
        config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, in_turn=True,
        axes={"case": tuple(f"{family} {size}" for family, size in asked), "round": labels},
    )  # fmt: skip


def by_scipy(one, other, scores, live):
    """Edges and summed scores of the maximum spanning forest of one graph."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse import csgraph

    low, high = np.minimum(one, other)[live], np.maximum(one, other)[live]
    ends, group = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    best = np.full(ends.shape[1], -np.inf)
    np.maximum.at(best, group, np.asarray(scores, np.float64)[live])
    size = int(max(high, default=0)) + 1
    # Costs above zero, since zero is no edge there; every forest of a graph has as many edges.
    cost = 1 + best.max(initial=0) - best
    tree = csgraph.minimum_spanning_tree(sparse.csr_array((cost, ends), shape=(size, size)))
    return tree.nnz, tree.nnz * (1 + best.max(initial=0)) - tree.sum()


def main(config, run, mesh):
    import numpy as np

    from experiments.lib import driver
    from experiments.pooling import panels_parsing

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        first = [np.asarray(part)[0] for part in drawn[:4]]
        found = [by_scipy(*case) for case in zip(*first, strict=True)]
        run.results(forest=[count for count, _ in found], weight=[weight for _, weight in found])
    run.look(panels_parsing.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/parsing.py")
