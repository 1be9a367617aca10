"""The maximum spanning forest and its hierarchy: against networkx, against rounds of parsing, within the bounds."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from research.pooling import boruvka, graph_bounds, graphs, parsing

NODES, EDGES, COUNT = 24, 60, 40


@pytest.fixture(scope="module")
def instances():
    """Multigraphs with loops, from empty to dense; half of them with ties among the scores."""
    rng = np.random.default_rng(11)
    ends = rng.integers(0, NODES, (COUNT, 2, EDGES))
    scores = np.where(
        np.arange(COUNT)[:, None] % 2, rng.normal(size=(COUNT, EDGES)), rng.integers(0, 4, (COUNT, EDGES))
    )
    mask = rng.random((COUNT, EDGES)) < np.linspace(0, 1, COUNT)[:, None]
    return scores.astype(np.float32), ends, mask


@pytest.fixture(scope="module")
def forests(instances):
    scores, ends, mask = instances
    find = jax.jit(jax.vmap(lambda s, e, m: boruvka.spanning_forest(s, *e, num_nodes=NODES, edge_mask=m)))
    return jax.tree.map(np.asarray, find(scores, ends, mask))


def networks(instances):
    for scores, ends, mask in zip(*instances, strict=True):
        graph = nx.MultiGraph()
        graph.add_nodes_from(range(NODES))
        for place in np.flatnonzero(mask):
            graph.add_edge(*ends[:, place].tolist(), key=int(place), weight=float(scores[place]))
        yield graph


def test_it_is_the_maximum_spanning_forest(instances, forests):
    scores, ends, mask = instances
    for i, graph in enumerate(networks(instances)):
        tree = nx.maximum_spanning_tree(graph)
        mine = np.flatnonzero(forests.in_forest[i])
        assert len(mine) == tree.number_of_edges()
        assert scores[i][mine].sum() == pytest.approx(tree.size(weight="weight"), rel=1e-5, abs=1e-5)
        if i % 2:  # no ties: the same edges
            assert {int(place) for place in mine} == {key for *_, key in tree.edges(keys=True)}
        kept = nx.MultiGraph(ends[i][:, mine].T.tolist())
        assert nx.number_of_edges(kept) == 0 or nx.is_forest(nx.Graph(kept))


def test_clusters_are_the_components_and_rounds_within_the_bound(instances, forests):
    for i, graph in enumerate(networks(instances)):
        parts = list(nx.connected_components(graph))
        assert forests.num_clusters[i, -1] == len(parts)
        for part in parts:
            assert len({int(label) for label in forests.labels[i, -1][list(part)]}) == 1
        assert forests.num_rounds[i] <= graph_bounds.max_rounds(max(map(len, parts)))
        taken = forests.taken_in[i][forests.in_forest[i]]
        assert taken.size == 0 or taken.max() == forests.num_rounds[i] - 1


def test_every_level_halves_what_can_merge(instances, forests):
    for i, graph in enumerate(networks(instances)):
        parts = [set(part) for part in nx.connected_components(graph)]
        before = np.arange(NODES)
        for labels in forests.labels[i]:
            for part in parts:
                one, other = (len({int(v) for v in level[list(part)]}) for level in (before, labels))
                assert other == 1 if one == 1 else other <= graph_bounds.max_clusters(one)
            before = labels


def test_levels_are_rounds_of_parsing_with_scores_kept(instances, forests):
    """Round by round the same clusters, where a coarse edge has the score of the best edge it stands for."""
    scores, ends, mask = instances

    @jax.jit
    @jax.vmap
    def chain(scores, ends, mask):
        graph = parsing.simple_edges(graphs.build(jnp.ones((NODES, 1)), *ends, edge_mask=mask), "drop")
        # Of several edges between two nodes the first counts; the forest takes the best: give all the best score.
        same = (jnp.sort(ends, axis=0)[:, :, None] == jnp.sort(ends, axis=0)[:, None]).all(axis=0) & mask[None]
        scores = jnp.where(mask, jnp.max(jnp.where(same, scores[None], -jnp.inf), axis=1), 0)
        names, found = jnp.arange(NODES), []
        for _ in range(3):
            parsed = parsing.parse(graph, scores)
            graph, names = parsing.pool(graph, parsed), parsed.labels[names]
            found.append(names)
        return jnp.stack(found)

    found = np.asarray(chain(scores, ends, mask))
    for i in range(1, COUNT, 2):  # ties are broken by the coarse graph's own numbers there, by the nodes' here
        for level, labels in enumerate(found[i]):
            pairs = set(zip(labels.tolist(), forests.labels[i, level].tolist(), strict=True))
            assert len(pairs) == len(set(labels.tolist())) == len(set(forests.labels[i, level].tolist()))


def test_a_path_needs_as_many_rounds_as_the_bound_allows():
    find = jax.jit(
        lambda scores, mask: (
            boruvka.spanning_forest(scores, jnp.arange(31), jnp.arange(1, 32), num_nodes=32, edge_mask=mask).num_rounds
        )
    )
    for size in range(2, 33):
        scores = np.zeros(31, np.float32)
        scores[: size - 1] = graph_bounds.slowest_path(size)
        assert find(scores, np.arange(31) < size - 1) == graph_bounds.max_rounds(size)


def test_masked_nodes_take_no_part():
    scores, ends = jnp.array([3.0, 2.0, jnp.nan]), jnp.array([[0, 1, 2], [1, 2, 3]])
    find = jax.jit(boruvka.spanning_forest, static_argnames="num_nodes")
    found = find(scores, *ends, num_nodes=4, node_mask=jnp.array([True, True, True, False]))
    assert found.in_forest.tolist() == [True, True, False]
    assert found.num_clusters[-1] == 1
    nothing = find(jnp.zeros(0), jnp.zeros(0, int), jnp.zeros(0, int), num_nodes=3)
    assert nothing.num_rounds == 0
    assert nothing.num_clusters.tolist() == [3]


def test_perturbed_forest_has_the_gradient_of_its_expectation(x64):
    """A triangle with one strong edge: the other two compete, P = Phi(difference / (scale sqrt 2)), in closed form."""
    from scipy.stats import norm

    scores, scale, samples = jnp.array([5.0, 0.3, 0.4]), 0.1, 20_000
    ends = jnp.array([[0, 0, 1], [1, 2, 2]])
    weight = jnp.array([0.0, 1.0, 0.0])

    @jax.jit
    @jax.value_and_grad
    def share(scores):
        return weight @ boruvka.perturbed_forest(
            jax.random.key(0), scores, *ends, num_nodes=3, scale=scale, samples=samples
        )

    value, gradient = share(scores)
    spread = scale * 2**0.5
    p, slope = norm.cdf(-0.1 / spread), norm.pdf(0.1 / spread) / spread
    # Six standard deviations, two comparisons of value and four of slope (false alarms below 1e-8). The gradient's
    # terms are at most |Z| / scale on an event of probability p.
    assert abs(value - p) < 6 * (p * (1 - p) / samples) ** 0.5
    margin = 6 * (2 / samples) ** 0.5 / scale
    np.testing.assert_allclose(gradient, [0, slope, -slope], atol=margin)
    assert margin < slope / 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_nodes": 0}, "num_nodes must be >= 1, got 0."),
        ({"levels": 0}, "levels must be >= 1, got 0."),
        ({"scores": jnp.ones(2)}, "scores, senders, receivers must have equal lengths"),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(changes, message):
    given = {"scores": jnp.ones(3), "senders": jnp.arange(3), "receivers": jnp.arange(3), "num_nodes": 3} | changes
    with pytest.raises(ValueError, match=message):
        boruvka.spanning_forest(**given)
    with pytest.raises(ValueError, match="scale must be positive and finite, got 0.0."):
        boruvka.perturbed_forest(jax.random.key(0), jnp.ones(1), jnp.array([0]), jnp.array([1]), num_nodes=2, scale=0.0)
