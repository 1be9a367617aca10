"""Graph parsing: the worked example, the released rule emulated, clusters and rounds within their bounds, errors."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from research.pooling import graph_bounds, graphs, parsing

Y = [(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2)]
EDGES = np.array([(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)]).T
SCORES = [0.9, 0.3, 0.4, 0.2, 0.8]
NODES, SIZE = 14, 20  # of random graphs, padded


def check_worked_example(dtype, rtol):
    graph = graphs.build(jnp.array(Y, dtype), *jnp.asarray(EDGES))
    scores = jnp.array(SCORES, dtype)

    @jax.jit
    def run(graph, scores):
        found = parsing.parse(graph, scores)
        coarse = parsing.pool(graph, found)
        return found, coarse, parsing.unpool(coarse.x, found, graph.x, graph.node_mask)

    found, coarse, back = run(graph, scores)
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.cluster_mask.tolist() == [True, True, False, False, False]
    assert found.edge_count[:2].tolist() == [6, 2]
    np.testing.assert_allclose(coarse.x[:2], [(9.6, 12.8), (4.8, 9.6)], rtol=rtol)
    live = np.asarray(coarse.edge_mask)
    assert np.stack([coarse.senders, coarse.receivers])[:, live].T.tolist() == [[0, 1]]
    np.testing.assert_allclose(back, np.array([(1.6, 12.8 / 6)] * 3 + [(2.4, 4.8)] * 2) + np.array(Y), rtol=rtol)


def test_worked_example(x64):
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


def random_graph(rng, density):
    """A simple graph in random order and direction, with ties among its scores, and padding."""
    pairs = np.array([(u, v) for u in range(NODES) for v in range(u)])
    pairs = rng.permutation(pairs)[: rng.binomial(len(pairs), density)][:40]
    pairs = np.where(rng.random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])
    scores = rng.integers(1, 5, 40) / 4
    ends = np.zeros((2, 40), int)
    ends[:, : len(pairs)] = pairs.T
    return ends, scores, np.arange(40) < len(pairs)


def emulated(ends, scores, mask):
    """Clusters by the released rule: a loop over nodes, a pointer graph, its weak components."""
    pointers = nx.DiGraph()
    pointers.add_nodes_from(range(NODES))
    for node in range(NODES):
        edges = [
            (-score, *sorted((int(u), int(v))), int(u + v - node))
            for u, v, score in zip(*ends[:, mask], scores[mask], strict=True)
            if node in (u, v)
        ]
        if edges:
            pointers.add_edge(node, min(edges)[-1])
    return {frozenset(part) for part in nx.weakly_connected_components(pointers)}


@pytest.fixture(scope="module")
def instances():
    rng = np.random.default_rng(7)
    return [random_graph(rng, density) for density in (0.05, 0.1, 0.2, 0.4) for _ in range(15)]


@pytest.fixture(scope="module")
def parsed(instances):
    ends, scores, mask = (np.stack(part) for part in zip(*instances, strict=True))
    node_mask = np.arange(SIZE) < NODES

    @jax.jit
    @jax.vmap
    def run(ends, scores, mask):
        graph = graphs.build(jnp.ones((SIZE, 2)), *ends, node_mask=node_mask, edge_mask=mask)
        found = parsing.parse(graph, scores)
        return found, parsing.pool(graph, found)

    found = run(ends, scores, mask)
    return [jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), found) for i in range(len(instances))]


def test_clusters_are_those_of_the_released_rule(instances, parsed):
    for instance, (found, _) in zip(instances, parsed, strict=True):
        clusters = {frozenset(np.flatnonzero(found.labels[:NODES] == c).tolist()) for c in range(NODES)} - {frozenset()}
        assert clusters == emulated(*instance)


def test_clusters_are_connected_and_within_the_bound(instances, parsed):
    for (ends, _, mask), (found, _) in zip(instances, parsed, strict=True):
        whole = nx.Graph(ends[:, mask].T.tolist())
        joined, count = whole.number_of_nodes(), int(found.cluster_mask.sum())
        assert count <= graph_bounds.max_clusters(joined, NODES - joined)
        assert set(found.labels[:NODES].tolist()) == set(range(count))
        for c in range(count):
            members = np.flatnonzero(found.labels[:NODES] == c).tolist()
            assert len(members) == 1 or nx.is_connected(whole.subgraph(members))
            assert len(members) > 1 or members[0] not in whole


def test_coarse_edges_are_those_between_clusters_each_once(instances, parsed):
    for (ends, scores, mask), (found, coarse) in zip(instances, parsed, strict=True):
        between = {}
        for u, v, score in zip(*found.labels[ends[:, mask]], scores[mask], strict=True):
            if u != v:
                between.setdefault(frozenset((int(u), int(v))), []).append(score)
        kept = coarse.edge_mask
        pairs = [frozenset(pair) for pair in np.stack([coarse.senders, coarse.receivers])[:, kept].T.tolist()]
        assert len(pairs) == len(set(pairs))
        # The edge that stands for two clusters is their best one.
        assert dict(zip(pairs, scores[kept], strict=True)) == {pair: max(all_) for pair, all_ in between.items()}


def test_pooled_features_follow_the_formula(instances, parsed):
    for (ends, scores, mask), (found, coarse) in zip(instances, parsed, strict=True):
        labels = found.labels
        for c in np.flatnonzero(found.cluster_mask):
            inside = mask & (labels[ends[0]] == c) & (labels[ends[1]] == c)
            factor = scores[inside].mean() * 2 * inside.sum() if inside.any() else 1
            np.testing.assert_allclose(coarse.x[c], (labels[:NODES] == c).sum() * factor, rtol=1e-5)


@pytest.fixture(scope="module")
def repeated():
    params = parsing.GraphParsing.create(jax.random.key(2), 3, 4)
    run = jax.jit(lambda graph, count: params(graph, num_graphs=count), static_argnums=1)
    return params, run


def test_connected_graphs_end_as_one_node_in_time(repeated):
    _, run = repeated
    for seed in range(6):
        tree = nx.random_labeled_tree(13, seed=seed)
        ends = np.concatenate([np.array(tree.edges).T, np.zeros((2, 4), int)], axis=1)
        x = np.random.default_rng(seed).normal(size=(16, 3)).astype(np.float32)
        graph = graphs.build(x, *ends, node_mask=np.arange(16) < 13, edge_mask=np.arange(16) < 12)
        last, rounds = run(graph, 2)
        assert last.node_mask.sum() == 1
        assert not last.edge_mask.any()
        clusters = np.asarray(rounds.cluster_mask.sum(axis=1))
        assert len(clusters) == graph_bounds.max_rounds(16)
        assert (clusters <= np.maximum(graph_bounds.max_clusters(np.r_[13, clusters[:-1]]), 1)).all()


def test_graphs_side_by_side_are_parsed_as_if_alone(repeated):
    _, run = repeated
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 3)).astype(np.float32)
    path = np.array([(0, 1), (1, 2), (2, 3), (3, 4)]).T
    ends = np.concatenate([path, path + 5, path[:, :3] + 11, np.zeros((2, 5), int)], axis=1)
    live, ids = np.arange(16) < 11, np.repeat((0, 1, 0), (5, 5, 6))
    graph = graphs.build(x, *ends, node_mask=(np.arange(16) < 10), edge_mask=live, graph_ids=ids)
    together, _ = run(graph, 2)
    for g in range(2):
        own = np.repeat((g == 0, g == 1, False), (5, 5, 6))
        alone, _ = run(graphs.build(x, *ends, node_mask=own, edge_mask=live), 2)
        row = int(np.flatnonzero(np.asarray(together.graph_ids[:2]) == g)[0])
        np.testing.assert_allclose(together.x[row], alone.x[0], rtol=1e-4)


def test_a_graph_without_edges_keeps_its_features(repeated):
    _, run = repeated
    x = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)
    graph = graphs.build(x, np.zeros(16, int), np.zeros(16, int), edge_mask=np.zeros(16, bool))
    np.testing.assert_array_equal(run(graph, 2)[0].x, x)


def test_gradients_reach_the_scorer_through_the_mean_score(repeated):
    params, _ = repeated
    graph = graphs.build(jnp.array(np.random.default_rng(3).normal(size=(5, 3)), jnp.float32), *jnp.asarray(EDGES))
    gradient = jax.jit(jax.grad(lambda params: params(graph, num_graphs=1, rounds=1)[0].x.sum()))(params)
    assert np.abs(gradient.score_out).sum() > 0
    scores = params.scores(graph)

    @jax.jit
    @jax.grad
    def through(scores):
        return parsing.parse(graph, scores).mean_score.sum()

    found = jax.jit(parsing.parse)(graph, scores)
    inside = np.asarray(found.labels)[EDGES[0]] == np.asarray(found.labels)[EDGES[1]]
    wanted = np.where(inside, 2 / np.asarray(found.edge_count)[np.asarray(found.labels)[EDGES[0]]], 0)
    np.testing.assert_allclose(through(scores), wanted, rtol=1e-6)


def test_loops_and_copies_are_raised_or_dropped():
    graph = graphs.build(jnp.ones((3, 1)), [0, 1, 2, 1], [1, 0, 2, 2])
    with pytest.raises(ValueError, match=r"no loop \(or be given duplicates='drop'\), got edge \(0, 1\)."):
        parsing.simple_edges(graph)
    assert parsing.simple_edges(graph, "drop").edge_mask.tolist() == [True, False, False, True]
    with pytest.raises(ValueError, match="duplicates must be one of 'raise', 'drop', got 'keep'."):
        parsing.simple_edges(graph, "keep")
    simple = graphs.build(jnp.ones((3, 1)), [0, 1], [1, 2])
    assert parsing.simple_edges(simple) is simple


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda graph, _: parsing.parse(graph, jnp.ones(4)),
            r"scores must have shape \(5\), got \(4,\).",
        ),
        (lambda graph, params: params(graph, num_graphs=0), "num_graphs must be a static integer >= 1, got 0."),
        (lambda graph, params: params(graph, num_graphs=1, rounds=0), "rounds must be >= 1, got 0."),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(repeated, call, message):
    graph = graphs.build(jnp.ones((5, 3)), *jnp.asarray(EDGES))
    with pytest.raises(ValueError, match=message):
        call(graph, repeated[0])
