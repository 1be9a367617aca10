"""Relational pooling and k,l-WL: the ladder, a dictionary oracle, sampling within its bound, errors."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from research.pooling import graph_bounds, graphs, refinement, relational

SIZE = 16


def padded(adjacency):
    size = len(adjacency)
    out = np.zeros((SIZE, SIZE), bool)
    out[:size, :size] = adjacency
    return out, np.arange(SIZE) < size


def climb(adjacency, node_mask, salt=0, k=1):
    """Fingerprints for 0, 1 and 2 marks (k = 1) or none, as pairs of integers."""
    found = refinement.ladder(adjacency, node_mask, 2 if k == 1 else 0, salt, k=k, rounds=8, batch_size=91)
    return [tuple(row) for row in np.asarray(found.prints).tolist()]


@pytest.fixture(scope="module")
def ladder():
    """Fingerprints of every graph of every pair, relabelled at random, by pair, side, k and l."""
    rng, found = np.random.default_rng(0), {}
    for name, (one, other, _) in graph_bounds.PAIRS.items():
        for side, adjacency in (("one", one), ("other", other), ("again", one)):
            place = rng.permutation(len(adjacency))
            for k in (1, 2):
                for marks, found_ in enumerate(climb(*padded(adjacency[np.ix_(place, place)]), 3, k)):
                    found[name, side, k, marks] = found_
    return found


@pytest.mark.parametrize("name", graph_bounds.PAIRS)
def test_as_many_marks_separate_a_pair_as_the_ladder_says(ladder, name):
    for marks in (0, 1, 2):
        apart = ladder[name, "one", 1, marks] != ladder[name, "other", 1, marks]
        assert apart == (marks >= graph_bounds.PAIRS[name][2]), marks
        assert ladder[name, "one", 1, marks] == ladder[name, "again", 1, marks]


def test_pairs_of_nodes_separate_cycles_and_not_strongly_regular_graphs(ladder):
    apart = {name: ladder[name, "one", 2, 0] != ladder[name, "other", 2, 0] for name in graph_bounds.PAIRS}
    assert apart == {"C6 and 2 C3": True, "C8 and 2 C4": True, "rook and Shrikhande": False}
    for name in graph_bounds.PAIRS:
        assert ladder[name, "one", 2, 0] == ladder[name, "again", 2, 0]


def test_the_pairs_are_what_they_are_called():
    rook, shrikhande = nx.from_numpy_array(graph_bounds.rook()), nx.from_numpy_array(graph_bounds.shrikhande())
    for graph in (rook, shrikhande):
        assert nx.is_strongly_regular(graph)
        assert {degree for _, degree in graph.degree} == {6}
    assert max(map(len, nx.find_cliques(rook))) == 4
    assert max(map(len, nx.find_cliques(shrikhande))) == 3
    assert nx.is_isomorphic(nx.from_numpy_array(graph_bounds.cycles(6)), nx.cycle_graph(6))


def by_dictionary(adjacency, marks, names):
    """Refinement with a dictionary shared by all graphs: the definition."""
    size, found = len(adjacency), Counter()
    for nodes in itertools.product(range(size), repeat=marks):
        colours = [tuple(i for i, node in enumerate(nodes) if node == v) for v in range(size)]
        colours = [names.setdefault(colour, len(names)) for colour in colours]
        for _ in range(size):
            heard = [(colours[v], tuple(sorted(colours[u] for u in np.flatnonzero(adjacency[v])))) for v in range(size)]
            colours = [names.setdefault(colour, len(names)) for colour in heard]
        found[tuple(sorted(colours))] += 1
    return frozenset(found.items())


def test_hashes_separate_what_dictionaries_separate():
    """Graphs of five and six nodes with few edges, many of them alike for refinement; every pair of them."""
    rng, graphs_, names = np.random.default_rng(1), [], {}
    for size in (5, 6):
        for _ in range(15):
            upper = np.triu(rng.random((size, size)) < rng.choice([0.2, 0.35, 0.5]), 1)
            graphs_.append(upper | upper.T)
    graphs_ += [graph_bounds.cycles(6), graph_bounds.cycles(3, 3)]
    climbed = [climb(*padded(a)) for a in graphs_]
    for marks in (0, 1):
        hashed = [prints[marks] for prints in climbed]
        exact = [by_dictionary(a, marks, names) for a in graphs_]
        for i, j in itertools.combinations(range(len(graphs_)), 2):
            assert (hashed[i] == hashed[j]) == (exact[i] == exact[j])


def test_padding_changes_nothing():
    adjacency = graph_bounds.cycles(5, 3)
    dirty, mask = padded(adjacency)
    alone = climb(*padded(adjacency))
    assert climb(dirty | ~(mask[:, None] & mask), mask) == alone
    tight = refinement.ladder(jnp.asarray(adjacency), jnp.ones(8, bool), 1, rounds=8)
    assert [tuple(row) for row in np.asarray(tight.prints).tolist()] == alone[:2]
    assert climb(dirty, mask, 1) != alone  # another salt


def test_sampled_tuples_miss_as_rarely_as_predicted():
    """Share of tuples of the rook's graph that betray it, against how often samples of five find none of them."""
    one, other, _ = graph_bounds.PAIRS["rook and Shrikhande"]
    mask = jnp.ones(16, bool)
    found = [refinement.ladder(a, mask, 2, rounds=8, batch_size=91).colours for a in (one, other)]
    mine, theirs = ([tuple(c) for c in np.asarray(colours)[17:].tolist()] for colours in found)  # tuples of two marks
    tell = np.array([colour not in set(theirs) for colour in mine])
    assert 0 < tell.mean() < 1
    draws, size = 4000, 5
    drawn = np.asarray(relational.sample_tuples(jax.random.key(0), mask, 2, draws * size)).reshape(draws, size, 2)
    missed = (~tell.reshape(16, 16)[drawn[..., 0], drawn[..., 1]]).all(axis=1).mean()
    expected = graph_bounds.missed(tell.mean(), size)
    # Hoeffding: off by more than this with probability at most 2 exp(-2 draws margin^2) = 1e-6.
    assert abs(missed - expected) < (np.log(2e6) / (2 * draws)) ** 0.5


@pytest.fixture(scope="module")
def network():
    return relational.SumNetwork.create(jax.random.key(0), 2, 4, 3)


def edges(adjacency):
    return np.stack(np.nonzero(np.triu(adjacency)))


def test_marks_let_a_network_see_what_it_could_not(network):
    @jax.jit
    def run(graph):
        return relational.relational_pool(network, graph, 1, batch_size=3)

    def pooled(adjacency):
        return run(graphs.build(jnp.ones((6, 1)), *edges(adjacency)))

    plain = relational.SumNetwork.create(jax.random.key(1), 1, 4, 3)
    one, other, _ = graph_bounds.PAIRS["C6 and 2 C3"]
    look = jax.jit(lambda graph: plain(graph))  # a module of arrays cannot be hashed, a function can
    unmarked = [look(graphs.build(jnp.ones((6, 1)), *edges(a))) for a in (one, other)]
    np.testing.assert_allclose(*unmarked, rtol=1e-5)
    marked_one, marked_other = pooled(one), pooled(other)
    assert np.abs(marked_one - marked_other).max() > 1e-3
    place = np.random.default_rng(0).permutation(6)  # rounding, a hundredth of what the marks have shown
    np.testing.assert_allclose(pooled(one[np.ix_(place, place)]), marked_one, rtol=0, atol=1e-5)


def test_the_exact_mean_is_a_loop_and_sampling_is_unbiased(network):
    graph = graphs.build(jnp.ones((6, 1)), *edges(graph_bounds.cycles(4)), node_mask=jnp.arange(6) < 4)
    alone = jax.jit(lambda node: network(relational.marked(graph, node)))
    values = np.stack([alone(jnp.array([node])) for node in range(4)])
    exact = jax.jit(lambda graph: relational.relational_pool(network, graph, 1))(graph)
    np.testing.assert_allclose(exact, values.mean(axis=0), rtol=1e-5, atol=1e-6)
    uneven = graphs.build(jnp.ones((6, 1)), [0, 1], [1, 2], node_mask=jnp.arange(6) < 4)
    alone = jax.jit(lambda node: network(relational.marked(uneven, node)))
    values = np.stack([alone(jnp.array([node])) for node in range(4)])
    sample = jax.jit(lambda key: relational.relational_pool(network, uneven, 1, key=key, samples=4000))
    sampled = sample(jax.random.key(1))
    # Hoeffding with the range of each channel, four comparisons in all: 1e-6.
    margin = np.ptp(values, axis=0) * (np.log(8e6) / (2 * 4000)) ** 0.5
    assert (np.abs(sampled - values.mean(axis=0)) <= margin + 1e-5).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, f: relational.relational_pool(f, g, -1), "num_marks must be an integer >= 0, got -1."),
        (lambda g, f: relational.relational_pool(f, g, 1, samples=3), "samples must come together with key, got 3."),
        (
            lambda g, f: relational.relational_pool(f, g, 1, key=jax.random.key(0), samples=0),
            "samples must be >= 1, got 0.",
        ),
        (
            lambda g, f: refinement.ladder(jnp.eye(3, dtype=bool), jnp.ones(3, bool), 1, k=3),
            "k must be one of 1, 2, got 3.",
        ),
        (
            lambda g, f: refinement.ladder(jnp.eye(3, dtype=bool), jnp.ones(3, bool), -1),
            "most must be an integer >= 0, got -1.",
        ),
        (lambda g, f: graph_bounds.missed(1.5, 3), r"share must lie in \[0, 1\], got 1.5."),
        (lambda g, f: graph_bounds.max_rounds(0), "num_nodes must be >= 1, got 0."),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(network, call, message):
    graph = graphs.build(jnp.ones((3, 1)), [0], [1])
    with pytest.raises(ValueError, match=message):
        call(graph, network)
