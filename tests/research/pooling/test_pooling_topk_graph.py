"""Top-k graph pooling: the worked example, what is kept, graphs side by side, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import graphs, topk_graph

Y = [(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2)]
EDGES = np.array([(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)]).T


def small(dtype=jnp.float32):
    return graphs.build(jnp.array(Y, dtype), *jnp.asarray(EDGES))


def check_worked_example(dtype, rtol):
    run = jax.jit(lambda graph, projection: topk_graph.graph_topk(graph, projection, 0.5, num_graphs=1))
    found = run(small(dtype), jnp.array([1, 2], dtype))
    assert found.index[:3].tolist() == [3, 2, 1]
    wanted = [(3.999825521, 3.999825521), (0, 2.972109327), (1.891279059, 0.945639529)]
    np.testing.assert_allclose(found.graph.x[:3], wanted, rtol=rtol)
    assert not found.graph.x[3:].any()
    assert found.graph.node_mask.tolist() == [True] * 3 + [False] * 2
    live = np.asarray(found.graph.edge_mask)
    kept = {frozenset(pair) for pair in np.stack([found.graph.senders, found.graph.receivers])[:, live].T.tolist()}
    assert kept == {frozenset((2, 1)), frozenset((1, 0))}  # the path 1 - 2 - 3 of the input


def test_worked_example(x64):
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


def test_as_many_are_kept_as_the_ratio_says():
    for tenths in range(1, 11):
        sizes = np.arange(200)
        np.testing.assert_array_equal(topk_graph.num_kept(sizes, tenths / 10), -(-sizes * tenths // 10))


@pytest.fixture(scope="module")
def pooled():
    """Two compiled sizes: all graphs of an instance at once, and each alone."""
    return jax.jit(
        lambda graph, projection, count: topk_graph.graph_topk(graph, projection, 0.6, num_graphs=count),
        static_argnums=2,
    )


@pytest.mark.parametrize("seed", range(4))
def test_graphs_side_by_side_are_pooled_as_if_alone(pooled, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 8, 3)
    x, projection = rng.normal(size=(24, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    ids = np.concatenate([np.repeat(range(3), sizes), np.zeros(24 - sizes.sum(), int)])
    mask = np.arange(24) < sizes.sum()
    place = rng.permutation(24)  # graphs interleaved, padding in between
    x, ids, mask = x[place], ids[place], mask[place]
    nodes = [np.flatnonzero(mask & (ids == g)) for g in range(3)]
    ends = np.concatenate([rng.choice(own, (2, 6)) for own in nodes], axis=1)
    together = pooled(graphs.build(x, *ends, node_mask=mask, graph_ids=ids), projection, 3)
    first = 0
    for g, own in enumerate(nodes):
        alone = graphs.build(x, *ends[:, 6 * g : 6 * g + 6], node_mask=mask & (ids == g))
        alone, count = pooled(alone, projection, 1), int(topk_graph.num_kept(len(own), 0.6))
        rows = slice(first, first + count)
        assert together.index[rows].tolist() == alone.index[:count].tolist()
        np.testing.assert_allclose(together.graph.x[rows], alone.graph.x[:count], rtol=1e-5)
        assert (np.asarray(together.graph.graph_ids[rows]) == g).all()
        edges = together.graph
        mine = np.asarray(edges.edge_mask) & (np.asarray(edges.senders) >= first)
        mine &= np.asarray(edges.senders) < first + count
        local = np.stack([edges.senders, edges.receivers])[:, mine] - first
        np.testing.assert_array_equal(
            local, np.stack([alone.graph.senders, alone.graph.receivers])[:, np.asarray(alone.graph.edge_mask)]
        )
        first += count
    assert int(together.graph.node_mask.sum()) == first == int(together.keep.sum())


def test_equal_scores_go_to_the_lower_node(pooled):
    graph = graphs.build(jnp.ones((5, 2)), *jnp.asarray(EDGES))
    assert pooled(graph, jnp.ones(2), 1).index[:3].tolist() == [0, 1, 2]


def test_a_nan_is_kept_and_stays_in_its_graph(pooled):
    x = jnp.array(Y, jnp.float32).at[4, 0].set(jnp.nan)
    graph = graphs.build(x, jnp.zeros(0, int), jnp.zeros(0, int), graph_ids=jnp.array([0, 0, 0, 1, 1]))
    read = graphs.readout(pooled(graph, jnp.ones(2), 2).graph, 2)
    assert np.isfinite(read[0]).all()
    assert np.isnan(read[1, 0])


def test_levels_add_up_and_features_mix_between_them(pooled):
    graph, projections = small(), jnp.array([(1.0, 2.0), (-1.0, 0.5)])
    first = pooled(graph._replace(x=graph.x * 2), projections[0], 1).graph
    second = pooled(first._replace(x=first.x * 2), projections[1], 1).graph
    wanted = graphs.readout(first, 1) + graphs.readout(second, 1)
    found = topk_graph.topk_readout(graph, projections, 0.6, num_graphs=1, mix=lambda level, graph: graph.x * 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_gradients_reach_what_is_kept_alone():
    graph = small()

    @jax.jit
    @jax.grad
    def reached(x):
        return topk_graph.graph_topk(graph._replace(x=x), jnp.array([1.0, 2.0]), 0.5, num_graphs=1).graph.x.sum()

    assert (np.abs(reached(graph.x)).sum(axis=1) > 0).tolist() == [False, True, True, True, False]


def test_a_graph_without_nodes_reads_zero():
    graph = graphs.build(jnp.full((3, 2), jnp.nan), jnp.zeros(0, int), jnp.zeros(0, int), node_mask=jnp.zeros(3, bool))
    read = jax.jit(lambda graph: topk_graph.topk_readout(graph, jnp.ones((1, 2)), 0.5, num_graphs=1))(graph)
    assert not np.asarray(read).any()


def pool(**changes):
    given = {"projection": jnp.ones(2), "ratio": 0.5, "num_graphs": 1} | changes
    return topk_graph.graph_topk(changes.pop("graph", small()), given.pop("projection"), given.pop("ratio"), **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool(ratio=0.0), r"ratio must be a static number in \(0, 1\], got 0.0."),
        (lambda: pool(ratio=1.5), r"ratio must be a static number in \(0, 1\], got 1.5."),
        (lambda: pool(num_graphs=None), "num_graphs must be a static integer >= 1, got None."),
        (lambda: pool(num_rows=2), "num_rows must be >= 3, got 2."),
        (lambda: pool(projection=jnp.ones(3)), r"projection must have shape \(2\), got \(3,\)."),
        (lambda: graphs.build(jnp.ones(3), [0], [1]), r"x must have shape \(M, D\), got \(3,\)."),
        (lambda: graphs.build(jnp.ones((3, 2)), [0.0], [1]), "senders must hold integers, got float32."),
        (lambda: graphs.build(jnp.ones((3, 2)), [0], [3]), r"receivers must lie in \[0, 2\], got 3 at index 0."),
        (
            lambda: graphs.build(jnp.ones((3, 2)), [0], [1], graph_ids=jnp.array([0.0, 1, 1])),
            "graph_ids must hold integers, got float32.",
        ),
        (
            lambda: graphs.build(jnp.ones((3, 2)), [0], [1], graph_ids=jnp.array([0, 1, 1])),
            r"senders, receivers must join nodes of one graph, got edge \(0, 1\).",
        ),
        (
            lambda: graphs.build(jnp.ones((3, 2)), [0], [1], node_mask=jnp.ones(3)),
            "node_mask must hold booleans, got float32.",
        ),
        (
            lambda: graphs.build(jnp.ones((3, 2)), [0], [1], node_mask=jnp.ones(2, bool)),
            r"node_mask must have shape \(3\), got \(2,\).",
        ),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
