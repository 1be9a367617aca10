"""The instances of the questions on graphs are what their experiments say they are."""

import itertools

import jax
import jax.numpy as jnp
import ml_collections as mlc
import networkx as nx
import numpy as np
import pytest

from experiments.data import graph_atlas
from experiments.pooling import distractors, parsing, smoothing
from research.core import prng
from research.pooling import graph_bounds


def test_the_atlas_holds_as_many_graphs_as_are_known_without_it():
    atlas = graph_atlas.load()
    sizes = atlas.node_mask.sum(axis=1)
    for most in range(graph_atlas.NUM_NODES + 1):
        assert graph_atlas.with_at_most(most) == (sizes <= most).sum()
    assert len(sizes) == graph_atlas.NUM_GRAPHS
    np.testing.assert_array_equal(atlas.adjacency, atlas.adjacency.transpose(0, 2, 1))
    assert not (atlas.adjacency & ~(atlas.node_mask[:, :, None] & atlas.node_mask[:, None])).any()
    small = graph_atlas.load(4)
    np.testing.assert_array_equal(small.adjacency, atlas.adjacency[: len(small.adjacency), :4, :4])
    with pytest.raises(ValueError, match=r"num_nodes must lie in \[0, 7\], got 8."):
        graph_atlas.with_at_most(8)


@pytest.fixture(scope="module")
def drawn():
    """One graph of each family and size, as networks with their scores."""
    uniform = jax.random.uniform(jax.random.key(0), (3, 128))
    found = {}
    for family in ("path", "tree", "grid", "sparse"):
        make = jax.jit(lambda size, family=family: parsing.edges(uniform, family, size))
        for size in (8, 16, 64):
            one, other, scores, live = (np.asarray(part) for part in make(jnp.int32(size)))
            found[family, size] = (one, other, scores, live)
    return found


def network(one, other, scores, live):
    graph = nx.Graph()
    graph.add_weighted_edges_from(zip(one[live].tolist(), other[live].tolist(), scores[live].tolist(), strict=True))
    return graph


def test_families_are_what_they_are_called(drawn):
    for size in (8, 16, 64):
        path = network(*drawn["path", size])
        assert nx.is_isomorphic(path, nx.path_graph(size))
        weights = [path.edges[i, i + 1]["weight"] for i in range(size - 1)]
        np.testing.assert_array_equal(weights, graph_bounds.slowest_path(size))
        tree = network(*drawn["tree", size])
        assert nx.is_tree(tree)
        assert len(tree) == size
        grid, width = network(*drawn["grid", size]), 2 ** (int(np.log2(size)) // 2)
        assert nx.is_isomorphic(grid, nx.grid_2d_graph(width, size // width))
        one, other, _, live = drawn["sparse", size]
        assert live.sum() == 2 * size
        assert max(one[live].max(), other[live].max()) < size


def test_the_other_forest_algorithm_is_given_the_same_graph(drawn):
    for case in drawn.values():
        one, other, scores, live = case
        live = live & (one != other)
        count, weight = parsing.by_scipy(one, other, scores, live)
        graph = nx.MultiGraph()
        for u, v, score in zip(one[live].tolist(), other[live].tolist(), scores[live].tolist(), strict=True):
            graph.add_edge(u, v, weight=score)
        tree = nx.maximum_spanning_tree(graph)
        assert count == tree.number_of_edges()
        assert weight == pytest.approx(tree.size(weight="weight"), rel=1e-6)


def test_sequences_hold_a_target_a_modifier_and_as_many_distractors():
    setting = mlc.ConfigDict({"length": 20, "topics": 30})
    make = jax.jit(lambda key, ratio: distractors.sequences(key, 400, ratio, setting), static_argnums=1)
    for ratio, count in ((0.5, 10), (0.9, 18), (0.99, 18)):
        assert distractors.num_distractors(ratio, 20) == count
        topics, marks, label = (np.asarray(part) for part in make(prng.root_key(0), ratio))
        at = [np.argmax(marks == mark, axis=1) for mark in (1, 2)]
        assert all(((marks == mark).sum(axis=1) == 1).all() for mark in (1, 2))
        assert max(place.max() for place in at) < count + 2  # what lies behind is padding
        same = np.equal(*(np.take_along_axis(topics, place[:, None], 1)[:, 0] for place in at))
        np.testing.assert_array_equal(same, label == 0)
        # A fair coin, 400 times: off by more than 0.15 with probability 2 exp(-2 400 0.15^2) = 3e-8, at three ratios.
        assert abs(label.mean() - 0.5) < 0.15


def test_walks_average_and_features_carry_the_label():
    setting = mlc.ConfigDict({"nodes": 40, "inside": 0.5, "across": 0.05, "correlation": 0.7})
    walk, x, label = (np.asarray(part) for part in smoothing.graphs(prng.root_key(1), 300, setting))
    np.testing.assert_allclose(walk.sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_array_equal(walk > 0, (walk > 0).transpose(0, 2, 1))
    assert set(label.tolist()) == {-1.0, 1.0}
    found = (x[..., 0] * x[..., 1]).mean(axis=1) * label
    # Products of correlated normals have variance 1 + 0.49; six standard deviations of a mean over 300 x 40 of them.
    assert abs(found.mean() - 0.7) < 6 * (1.49 / 12000) ** 0.5
    inside = np.add.reduce([walk[:, rows, rows].sum(axis=(1, 2)) for rows in (slice(0, 20), slice(20, 40))]) / 40
    assert inside.mean() > 0.8  # a step mostly stays in its block


def test_quick_forms_are_smaller():
    from experiments.lib import config as config_lib

    for name, form in itertools.product(("distractors", "ladder", "parsing", "smoothing"), ("", "paper_")):
        default, quick = (
            config_lib.resolve(f"configs/pooling/{form}{name}.py{suffix}").config for suffix in ("", ":quick")
        )
        assert quick.run.replicates <= default.run.replicates
        assert quick.run.num_steps <= default.run.num_steps
