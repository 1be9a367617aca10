"""What the fair forest is compared with: majority mixing, an online network, a forest with a reservoir."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.regret import fairness_baselines, oblique_tree, online_mlp, parity, reservoir_tree


def stream(seed, rounds=60, features=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rounds, features))
    protected = rng.integers(0, 2, rounds)
    x[:, -1] += 2.0 * protected
    labels = (x[:, 0] + 2.0 * protected > 1.0).astype(int)
    return oblique_tree.Problem(jnp.asarray(x), jnp.asarray(labels), jnp.asarray(protected))


def test_majority_is_of_the_past_only():
    np.testing.assert_array_equal(
        fairness_baselines.majority_prediction(jnp.asarray([1, 1, 0, 0, 0, 1])), [0, 1, 1, 1, 0, 0]
    )


def test_mixture_is_the_expectation_over_its_coin(x64):
    """All 2^8 outcomes of the coin, with their probabilities."""
    rng = np.random.default_rng(0)
    predictions, labels, protected = rng.integers(0, 2, (3, 8))
    majority = np.asarray(fairness_baselines.majority_prediction(jnp.asarray(labels)))
    share = 0.3
    accuracy, rates = 0.0, np.zeros(2)
    for outcome in range(2**8):
        replaced = (outcome >> np.arange(8)) & 1
        probability = np.prod(np.where(replaced, share, 1 - share))
        answer = np.where(replaced, majority, predictions)
        accuracy += probability * np.mean(answer == labels)
        rates += [probability * answer[protected == a].mean() for a in (0, 1)]
    counts = parity.start_metrics()
    for said, label, group in zip(predictions, labels, protected, strict=True):
        counts = parity.count(counts, jnp.int32(said), jnp.int32(label), jnp.int32(group))
    constant = fairness_baselines.majority_metrics(jnp.asarray(labels), jnp.asarray(protected))
    mixed = fairness_baselines.majority_mixture(counts, constant, jnp.asarray([0.0, share, 1.0]))
    np.testing.assert_allclose(mixed.accuracy[1], accuracy, rtol=1e-12)
    np.testing.assert_allclose(mixed.parity_gap[1], abs(rates[1] - rates[0]), rtol=1e-12)
    np.testing.assert_allclose(mixed.accuracy[::2], [np.mean(a == labels) for a in (predictions, majority)])


def test_mixture_refuses_bad_input():
    ones = jnp.ones(4, jnp.int32)
    counts, fewer = (fairness_baselines.majority_metrics(o, o) for o in (ones, ones[:3]))
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\], got 1.5"):
        fairness_baselines.majority_mixture(counts, counts, jnp.asarray([0.5, 1.5]))
    with pytest.raises(ValueError, match="majority.rounds must be those of the classifier"):
        fairness_baselines.majority_mixture(counts, fewer, jnp.asarray([0.5]))
    with pytest.raises(ValueError, match="labels must be 0 or 1, got 3"):
        fairness_baselines.majority_metrics(3 * ones, ones)
    with pytest.raises(ValueError, match="must have equal lengths"):
        fairness_baselines.majority_metrics(ones, ones[:3])


def test_network_without_penalty_is_adam_on_the_cross_entropy(x64):
    """Against optax driven by jax.grad of the loss; the first update waits for the second protected class."""
    import optax

    problem, params = stream(1), online_mlp.Params(num_steps=60, width=5)
    start = online_mlp.init(problem, params, prng.root_key(0))
    network, optimiser = start.network, optax.adam(2e-3, eps=1e-7)
    moments = optimiser.init(network)

    @jax.jit
    def update(network, moments, x, label):
        def loss(network):
            p = online_mlp.probability(network, x)
            return -jnp.where(label == 1, jnp.log(p), jnp.log1p(-p))

        updates, moments = optimiser.update(jax.grad(loss)(network), moments)
        return optax.apply_updates(network, updates), moments

    waits = int(np.argmax(np.asarray(problem.protected) != int(problem.protected[0])))
    for x, label in zip(problem.features[waits:], problem.labels[waits:], strict=True):
        network, moments = update(network, moments, x, label)
    result = online_mlp.run(problem, params, state=start)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), result.network, network)


def test_reservoir_is_a_uniform_sample():
    """Every round is in the sample with probability M / T.

    A round's count over the independent keys is binomial; by Hoeffding all 20 counts lie within the margin of their
    mean but for probability 1e-6.
    """
    rounds, size, lanes = 20, 5, 4000

    def sample(key):
        empty = reservoir_tree.Reservoir(jnp.int32(0), jnp.full((size, 1), -1.0), jnp.zeros(size, jnp.int32))

        def offer(reservoir, t):
            point = t[None].astype(jnp.float32)
            return reservoir_tree.insert(reservoir, prng.per_step(key, t), point, t % 2), None

        return jax.lax.scan(offer, empty, jnp.arange(rounds))[0]

    drawn = jax.jit(jax.vmap(sample))(prng.replicate_keys(prng.root_key(8), lanes))
    stored = np.asarray(drawn.points[..., 0]).astype(int)
    np.testing.assert_array_equal(drawn.protected, stored % 2)
    assert all(len(set(row)) == size for row in stored)
    counts = np.bincount(stored.ravel(), minlength=rounds)
    margin = np.sqrt(lanes * np.log(2 * rounds / 1e-6) / 2)
    assert np.all(np.abs(counts - lanes * size / rounds) <= margin)


def test_reservoir_that_holds_everything_has_the_exact_means(x64):
    problem = stream(2)
    params = reservoir_tree.Params(num_steps=60, depth=2, num_trees=2, fairness=0.5, capacity=64)
    state = eqx.filter_jit(reservoir_tree.run)(problem, params, prng.root_key(1)).state
    assert state.reservoir.seen == 60
    np.testing.assert_array_equal(state.reservoir.points[:60, :-1], problem.features)
    means = reservoir_tree.reservoir_means(state.reservoir, state.forest.nodes)
    points = jax.vmap(oblique_tree.with_bias)(problem.features)
    decision = jax.vmap(oblique_tree.decisions, (None, 0))(state.forest.nodes, points)
    gradient = jax.vmap(oblique_tree.node_gradients)(decision, points)
    for group in (0, 1):
        member = np.asarray(problem.protected) == group
        assert means[group].rounds == member.sum()
        np.testing.assert_allclose(means[group].decision, np.asarray(decision)[member].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(means[group].gradient, np.asarray(gradient)[member].mean(axis=0), atol=1e-13)


def test_without_penalty_the_reservoir_is_idle(x64):
    problem, key = stream(3), prng.root_key(2)
    plain = oblique_tree.Params(num_steps=60, depth=2)
    stored = reservoir_tree.Params(num_steps=60, depth=2, capacity=64)
    one = eqx.filter_jit(oblique_tree.run)(problem, plain, key)
    other = eqx.filter_jit(reservoir_tree.run)(problem, stored, key)
    np.testing.assert_array_equal(one.trace.prediction, other.trace.prediction)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), one.forest, other.forest)


@pytest.mark.parametrize("module", [online_mlp, reservoir_tree], ids=["mlp", "reservoir"])
def test_penalty_shrinks_the_gap(module):
    problem = stream(4, rounds=2000)
    run = eqx.filter_jit(module.run)
    free, fair = (
        run(problem, module.Params(num_steps=2000, fairness=jnp.asarray(value)), prng.root_key(5)).state.metrics
        for value in (0.0, 10.0)
    )
    assert parity.gap(free) > 0.2
    assert parity.gap(fair) < parity.gap(free) / 2
