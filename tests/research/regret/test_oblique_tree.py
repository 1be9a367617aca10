"""The forest's forward pass and gradients, its parity penalty, and the whole algorithm against loops in NumPy."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.regret import oblique_tree, parity

play = eqx.filter_jit(oblique_tree.run)


def stream(seed, rounds=50, features=3, lean=1.5):
    """Labels that depend on the protected class, which the features reveal."""
    rng = np.random.default_rng(seed)
    protected = rng.integers(0, 2, rounds)
    protected[:3] = 1  # so that three rounds pass before both classes were seen
    x = rng.normal(size=(rounds, features))
    x[:, -1] += lean * protected
    labels = (x @ rng.normal(size=features) + lean * protected > 0.5).astype(int)
    return oblique_tree.Problem(jnp.asarray(x), jnp.asarray(labels), jnp.asarray(protected))


def random_forest(seed, depth, trees=3, features=4):
    params = oblique_tree.Params(num_steps=1, depth=depth, num_trees=trees)
    return oblique_tree.start_forest(prng.root_key(seed), params, features, jnp.float64)


def votes_by_hand(nodes, leaves, x):
    """Sum of the trees' class probabilities, one root-to-leaf path at a time."""
    total = np.zeros(2)
    depth = round(math.log2(leaves.shape[1]))
    for tree_nodes, tree_leaves in zip(np.asarray(nodes), np.asarray(leaves), strict=True):
        go_left = 1 / (1 + np.exp(-(tree_nodes[:, :-1] @ x + tree_nodes[:, -1])))
        for leaf, scores in enumerate(tree_leaves):
            node, probability = 0, 1.0
            for level in reversed(range(depth)):
                right = (leaf >> level) & 1
                probability *= (1 - go_left[node] if right else go_left[node]) + 1e-8
                node = 2 * node + 1 + right
            total += probability * np.exp(scores) / np.exp(scores).sum()
    return total


@pytest.mark.parametrize("depth", [1, 4])
def test_output_is_the_sum_over_paths(depth, x64):
    forest = random_forest(depth, depth)
    x = np.random.default_rng(depth).normal(size=4)
    decision = oblique_tree.decisions(forest.nodes, oblique_tree.with_bias(jnp.asarray(x)))
    votes = votes_by_hand(*forest, x)
    np.testing.assert_allclose(oblique_tree.output(forest, decision), votes / votes.sum(), rtol=1e-12)
    np.testing.assert_allclose(votes.sum(), 3, rtol=1e-7)  # leaf probabilities sum to 1 up to the path epsilon


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("label", [0, 1])
def test_gradients_are_those_of_the_loss(depth, label, x64):
    forest = random_forest(7 + depth, depth)
    point = oblique_tree.with_bias(jnp.asarray(np.random.default_rng(depth).normal(size=4)))

    def loss(forest):
        return -jnp.log(oblique_tree.output(forest, oblique_tree.decisions(forest.nodes, point))[label])

    decision = oblique_tree.decisions(forest.nodes, point)
    value, classes, by_decision, by_leaf = oblique_tree.loss_gradient(forest, decision, jnp.asarray(label))
    by_nodes = by_decision[..., None] * oblique_tree.node_gradients(decision, point)
    expected = jax.grad(loss)(forest)
    np.testing.assert_allclose(value, loss(forest), rtol=1e-12)
    np.testing.assert_allclose(classes, oblique_tree.output(forest, decision), rtol=1e-12)
    np.testing.assert_allclose(by_nodes, expected.nodes, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(by_leaf, expected.leaves, rtol=1e-9, atol=1e-13)


def test_node_gradient_is_that_of_the_decision(x64):
    forest, point = random_forest(0, 3), oblique_tree.with_bias(jnp.asarray([0.3, -1.0, 2.0, 0.1]))
    decision = oblique_tree.decisions(forest.nodes, point)
    expected = jax.grad(lambda nodes: oblique_tree.decisions(nodes, point).sum())(forest.nodes)
    np.testing.assert_allclose(oblique_tree.node_gradients(decision, point), expected, rtol=1e-12, atol=1e-15)


def test_saturated_forest_has_finite_gradients():
    """A decision of exactly 0 or 1 (float32) leaves the path epsilon as the other child's factor."""
    forest = oblique_tree.Forest(jnp.full((1, 3, 2), 80.0), jnp.zeros((1, 4, 2)))
    decision = oblique_tree.decisions(forest.nodes, jnp.ones(2))
    assert np.all(decision == 1)
    for leaf in jax.tree.leaves(oblique_tree.loss_gradient(forest, decision, jnp.int32(1))):
        assert np.all(np.isfinite(leaf))


def learn_by_hand(problem, params, forest):
    """The algorithm in NumPy loops: every past decision and gradient is kept and averaged anew; Adam as printed."""
    nodes, leaves = (np.array(part) for part in forest)
    visits = {0: ([], []), 1: ([], [])}
    moments = [[np.zeros_like(p), np.zeros_like(p)] for p in (nodes, leaves)]
    updates, predictions, losses = 0, [], []
    for x, label, group in zip(
        *(np.asarray(a) for a in (problem.features, problem.labels, problem.protected)), strict=True
    ):
        votes = votes_by_hand(nodes, leaves, x)
        predictions.append(int(votes[1] > votes[0]))
        losses.append(-np.log(votes[label] / votes.sum()))
        point = np.append(x, 1.0)
        go_left = 1 / (1 + np.exp(-nodes @ point))
        visits[group][0].append(go_left)
        visits[group][1].append((go_left * (1 - go_left))[..., None] * point)
        if not (visits[0][0] and visits[1][0]):
            continue
        decision, gradient = ([np.mean(visits[a][i], axis=0) for a in (0, 1)] for i in (0, 1))
        disparity = decision[1] - decision[0]
        strength = np.where(np.abs(disparity) < params.slope_switch, disparity, np.sign(disparity))

        def loss(forest, point=point, label=label):
            return -jnp.log(oblique_tree.output(forest, oblique_tree.decisions(forest.nodes, point))[label])

        task = jax.grad(loss)(oblique_tree.Forest(jnp.asarray(nodes), jnp.asarray(leaves)))
        penalty = params.fairness * strength[..., None] * (gradient[1] - gradient[0])
        updates += 1
        steps = []
        for total, moment in zip((np.asarray(task.nodes) + penalty, np.asarray(task.leaves)), moments, strict=True):
            moment[0] = 0.9 * moment[0] + 0.1 * total
            moment[1] = 0.999 * moment[1] + 0.001 * total**2
            first, second = moment[0] / (1 - 0.9**updates), moment[1] / (1 - 0.999**updates)
            steps.append(params.step_size * first / (np.sqrt(second) + 1e-7))
        nodes, leaves = nodes - steps[0], leaves - steps[1]
    return nodes, leaves, np.array(predictions), np.array(losses)


@pytest.mark.parametrize("fairness", [0.0, 0.7])
def test_matches_the_algorithm_written_in_loops(fairness, x64):
    """Running means, skip rule, penalty and Adam.

    1e-8: Adam divides by roots of tiny second moments, which amplifies rounding.
    """
    problem = stream(1)
    params = oblique_tree.Params(num_steps=50, depth=2, num_trees=2, fairness=jnp.asarray(fairness))
    key = prng.root_key(3)
    result = play(problem, params, key)
    start = oblique_tree.init(problem, params, key).forest
    nodes, leaves, predictions, losses = learn_by_hand(problem, params, start)
    np.testing.assert_array_equal(result.trace.prediction, predictions)
    np.testing.assert_allclose(result.trace.loss, losses, rtol=1e-8)
    np.testing.assert_allclose(result.forest.nodes, nodes, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(result.forest.leaves, leaves, rtol=1e-8, atol=1e-8)


def test_metrics_are_those_of_the_predictions(x64):
    problem = stream(2)
    trace = play(problem, oblique_tree.Params(num_steps=50, depth=2), prng.root_key(1)).trace
    labels, group, predicted = (np.asarray(a) for a in (problem.labels, problem.protected, trace.prediction))
    for t in (0, 2, 10, 49):
        seen = slice(0, t + 1)
        np.testing.assert_allclose(trace.accuracy[t], np.mean(predicted[seen] == labels[seen]), rtol=1e-12)
        both = len(set(group[seen])) == 2
        rates = [predicted[seen][group[seen] == a].mean() for a in (0, 1)] if both else [0, 0]
        np.testing.assert_allclose(trace.parity_gap[t], abs(rates[1] - rates[0]), rtol=1e-12)


def test_forest_rests_until_both_classes_were_seen():
    problem = stream(3)
    assert list(problem.protected[:3]) == [1, 1, 1]
    first = int(np.argmin(problem.protected))
    params = oblique_tree.Params(num_steps=first, depth=2, fairness=1.0)
    start = oblique_tree.init(problem, params, prng.root_key(0))
    state = play(problem, params, None, state=start).state
    jax.tree.map(np.testing.assert_array_equal, (state.forest, state.adam), (start.forest, start.adam))
    assert state.means[1].rounds == first
    after, _ = jax.jit(oblique_tree.step)(problem, params, state)
    assert np.all(np.asarray(after.forest.leaves) != np.asarray(start.forest.leaves))


def test_exchanging_the_protected_classes_changes_nothing(x64):
    """Disparity and gradient difference both change sign, and so does nothing else: equal bit for bit."""
    problem = stream(4)
    params = oblique_tree.Params(num_steps=50, depth=3, fairness=jnp.asarray(2.0))
    exchanged = dataclasses.replace(problem, protected=1 - problem.protected)
    one, other = (play(p, params, prng.root_key(2)) for p in (problem, exchanged))
    jax.tree.map(np.testing.assert_array_equal, one.forest, other.forest)
    jax.tree.map(np.testing.assert_array_equal, one.trace, other.trace)


def test_a_grid_of_fairness_is_one_vmap(x64):
    problem, key = stream(5), prng.root_key(4)
    grid = jnp.asarray([0.0, 0.3, 10.0])

    def forest(fairness):
        params = oblique_tree.Params(num_steps=50, depth=2, fairness=fairness)
        return oblique_tree.run(problem, params, key).forest

    lanes = jax.jit(jax.vmap(forest))(grid)
    single = jax.jit(forest)
    for lane, fairness in enumerate(grid):
        jax.tree.map(
            lambda whole, one, lane=lane: np.testing.assert_allclose(whole[lane], one, atol=1e-9),
            lanes,
            single(fairness),
        )


def test_penalty_shrinks_the_gap_on_a_biased_stream():
    """Labels lean on the protected class by far: a fixed stream, a tenfold smaller gap, at the price of accuracy."""
    problem = stream(6, rounds=3000, lean=3.0)
    params = [oblique_tree.Params(num_steps=3000, fairness=jnp.asarray(value)) for value in (0.0, 30.0)]
    free, fair = (play(problem, p, prng.root_key(5)).state.metrics for p in params)
    assert parity.gap(free) > 0.5
    assert parity.gap(fair) < parity.gap(free) / 2
    assert parity.accuracy(fair) < parity.accuracy(free)


def test_slope_is_the_disparity_then_its_sign():
    slope = parity.slope(jnp.asarray([-0.5, -0.01, -0.009, 0.0, 0.009, 0.01, 0.5]), 0.01)
    np.testing.assert_allclose(slope, [-1, -1, -0.009, 0, 0.009, 1, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.full(50, 2)}, "labels must be 0 or 1, got 2"),
        ({"protected": np.full(50, -1)}, "protected must be 0 or 1, got -1"),
        ({"features": np.full((50, 3), np.inf)}, "features must be finite, got inf"),
        ({"features": np.zeros(50)}, r"features must have shape \(any, any\), got \(50,\)"),
        ({"labels": np.zeros(49)}, "features, labels, protected must have equal lengths"),
    ],
)
def test_bad_stream_is_one_line(changes, message):
    problem = dataclasses.replace(stream(0), **{name: jnp.asarray(value) for name, value in changes.items()})
    with pytest.raises(ValueError, match=message):
        oblique_tree.run(problem, oblique_tree.Params(num_steps=50), prng.root_key(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fairness": -1.0}, "Params.fairness must lie in"),
        ({"fairness": float("nan")}, "Params.fairness must lie in"),
        ({"depth": 0}, "Params.depth must be >= 1, got 0"),
        ({"num_trees": 0}, "Params.num_trees must be >= 1, got 0"),
        ({"step_size": 0.0}, "Params.step_size must be positive and finite, got 0.0"),
    ],
)
def test_bad_params_are_one_line(changes, message):
    with pytest.raises(ValueError, match=message):
        oblique_tree.Params(**changes)


def test_missing_key_and_missing_rounds_are_errors():
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        oblique_tree.run(stream(0), oblique_tree.Params(num_steps=50))
    with pytest.raises(ValueError, match="Params.num_steps must be <= 50"):
        oblique_tree.run(stream(0), oblique_tree.Params(num_steps=51), prng.root_key(0))
