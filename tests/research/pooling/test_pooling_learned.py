"""Mixed, gated and tree pooling, and PoolFormer: worked values, T6, gradients of every part, exact sizes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import mixed, poolformer, tree
from research.pooling.windows import window_pool

X = np.array([[-5, 2, 9, 0], [7, -2, 5, -4], [3, 10, 1, 8], [-1, 6, -3, 4]], float)[None, :, :, None]
GATE = np.array([0.1, -0.2, 0.3, 0.05])
LEAVES = np.array([[0.25] * 4, [1, 0, 0, 0], [0, 0, 0, 1], [0.5, -0.5, 0.5, -0.5]])
GATES = np.array([[0.1, 0, 0, -0.1], [0, 0.2, 0, 0], [0, 0, -0.3, 0]])
PUBLISHED = {"s12": (12, 1.8), "s24": (21, 3.4), "s36": (31, 5.0), "m36": (56, 8.8), "m48": (73, 11.6)}


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-6), (np.float32, 2e-5)])
def test_worked_values(dtype, rtol, x64):
    x = jnp.asarray(X, dtype)
    found = {
        "mixed": (mixed.mixed_pool(x, 0.3, 2), [[2.45, 4.45], [6.15, 4.15]]),
        "gated": (
            mixed.gated_pool(x, jnp.asarray(GATE, dtype), 2),
            [[5.376690686, 8.351621821], [5.349558958, 3.04862769]],
        ),
        "tree": (
            tree.tree_pool(x, jnp.asarray(LEAVES, dtype), jnp.asarray(GATES, dtype), 2),
            [[-0.340086381, 5.938137155], [2.10761418, 1.427963178]],
        ),
    }
    for value, expected in found.values():
        assert value.dtype == dtype
        np.testing.assert_allclose(value[0, ..., 0], expected, rtol=rtol)
    mix = poolformer.poolformer_mix(x)[0, 0, :, 0]
    np.testing.assert_allclose(mix, [5.5, 0.666666667, -7.333333333, 2.5], rtol=rtol)


@pytest.fixture(scope="module")
def random_trees():
    """Twenty trees of four leaves on random maps: values, partition, responses; 2 x 2 windows, in float64."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 3)
        leaves, gates = jax.random.normal(keys[0], (20, 4, 4)), 2 * jax.random.normal(keys[1], (20, 3, 4))
        x = 3 * jax.random.normal(keys[2], (20, 2, 6, 6, 2))

        @jax.jit
        @jax.vmap
        def both(x, leaves, gates):
            return tree.tree_pool(x, leaves, gates, 2), *tree.path_weights(x, leaves, gates, 2)

        return tuple(map(np.asarray, both(x, leaves, gates)))


def test_a_tree_is_a_partition_of_unity_over_its_leaves(random_trees):
    value, weights, responses = random_trees
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose((weights * responses).sum(axis=1), value, rtol=1e-10, atol=1e-12)
    low, high = tree.hull(responses.swapaxes(0, 1))
    assert (value >= low - 1e-12).all()
    assert (value <= high + 1e-12).all()


def test_leaves_that_average_make_any_tree_the_average(x64):
    x = jax.random.normal(jax.random.key(3), (2, 7, 6, 3))
    gates = 5 * jax.random.normal(jax.random.key(4), (7, 6))
    found = tree.tree_pool(x, jnp.full((8, 6), 1 / 6), gates, (3, 2), (2, 2))
    np.testing.assert_allclose(found, window_pool(x, "avg", (3, 2), (2, 2)), rtol=1e-12, atol=1e-14)


def test_mixed_and_gated_lie_between_mean_and_maximum(x64):
    x = 4 * jax.random.normal(jax.random.key(5), (3, 8, 8, 2))
    rng = np.random.default_rng(6)
    parts, weights = jnp.asarray(rng.uniform(size=(3, 3, 2))), jnp.asarray(rng.normal(size=(9, 2)))

    @jax.jit
    def pools(x, parts, weights):
        ends = [window_pool(x, kind, 3, 2) for kind in ("avg", "max")]
        found = [mixed.mixed_pool(x, a, 3, 2) for a in (parts, 0.5)]
        return *ends, *found, *(mixed.gated_pool(x, w, 3, 2) for w in (weights, weights[:, 1], jnp.zeros(9)))

    low, high, by_region, half, per_channel, alone, nothing = map(np.asarray, pools(x, parts, weights))
    for value in (by_region, per_channel):
        assert ((value >= low - 1e-12) & (value <= high + 1e-12)).all()
    # A gate per channel is the gate of each channel alone; one that is 0 is the mixture of equal parts.
    np.testing.assert_allclose(per_channel[..., 1], alone[..., 1], rtol=1e-12)
    np.testing.assert_allclose(nothing, half, rtol=1e-12, atol=1e-14)


def test_gradients_have_the_parts_that_the_definitions_give(x64):
    """mixed: sum of ct (max - mean). gated: s dmax + (1 - s) / K + s (1 - s) (max - mean) w."""
    x = np.random.default_rng(8).normal(size=(1, 2, 2, 1))
    largest, mean = x.max(), x.mean()

    @jax.jit
    def slopes(x, gate):
        gated = lambda x, gate: mixed.gated_pool(x, gate, 2).sum()  # noqa: E731
        return jax.grad(lambda a: mixed.mixed_pool(x, a, 2).sum())(0.2), *jax.grad(gated, argnums=(0, 1))(x, gate)

    by_part, by_element, by_weight = slopes(jnp.asarray(x), jnp.asarray(GATE))
    np.testing.assert_allclose(by_part, largest - mean, rtol=1e-12)
    share = 1 / (1 + np.exp(-np.sum(GATE * x.ravel())))
    slope = share * (1 - share) * (largest - mean)
    np.testing.assert_allclose(
        by_element.ravel(), share * (x.ravel() == largest) + (1 - share) / 4 + slope * GATE, rtol=1e-10
    )
    np.testing.assert_allclose(by_weight, slope * x.ravel(), rtol=1e-10)


def test_partial_windows_skip_what_is_missing(x64):
    """CEIL on 5 x 5, 2 x 2 windows: the corner's window is one element, which all of them return or weigh."""
    x = jax.random.normal(jax.random.key(9), (1, 5, 5, 1))
    corner = float(x[0, 4, 4, 0])
    assert mixed.mixed_pool(x, 0.3, 2, padding="CEIL").shape == (1, 3, 3, 1)
    np.testing.assert_allclose(mixed.mixed_pool(x, 0.3, 2, padding="CEIL")[0, 2, 2, 0], corner, rtol=1e-12)
    np.testing.assert_allclose(
        mixed.gated_pool(x, jnp.asarray(GATE), 2, padding="CEIL")[0, 2, 2, 0], corner, rtol=1e-12
    )
    share = 1 / (1 + np.exp(-GATES[0, 0] * corner))
    expected = corner * (share * LEAVES[0, 0] + (1 - share) * LEAVES[1, 0])
    found = tree.tree_pool(x, jnp.asarray(LEAVES[:2]), jnp.asarray(GATES[:1]), 2, padding="CEIL")[0, 2, 2, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_modules_start_as_documented():
    layer = tree.Tree.create(jax.random.key(0), (3, 3), leaves=4)
    assert sum(leaf.size for leaf in jax.tree.leaves(layer)) == 7 * 9
    # 36 leaves' weights around 1 / 9 with deviation 0.1: their mean within six standard errors, 0.1.
    assert abs(float(layer.leaves.mean()) - 1 / 9) < 0.1
    assert abs(float(tree.Tree.create(jax.random.key(0), (3, 3), leaves=4, leaf_init="noise").leaves.mean())) < 0.1
    assert mixed.Gated.create(jax.random.key(1), (2, 2), channels=3).weights.shape == (4, 3)
    assert mixed.Mixed.create(jax.random.key(0), 2, shape=(5,)).a.tolist() == [0.5] * 5


@pytest.mark.parametrize("name", poolformer.SIZES)
def test_poolformer_sizes_are_exact(name):
    """Parameters as the modules have them, and both published roundings."""
    size = poolformer.SIZES[name]
    model = jax.eval_shape(lambda key: poolformer.PoolFormer.create(key, name), jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(model))
    millions, giga = PUBLISHED[name]
    assert count == poolformer.num_parameters(size)
    assert round(count / 1e6) == millions
    assert abs(poolformer.num_macs(size) / 1e9 - giga) < 0.1


def test_the_mixer_annihilates_constants_and_nothing_else(x64):
    constants = jnp.full((1, 5, 4, 2), 3.7)
    np.testing.assert_allclose(poolformer.poolformer_mix(constants), 0 * constants, atol=1e-15)
    x = jax.random.normal(jax.random.key(2), (1, 5, 4, 2))
    np.testing.assert_allclose(poolformer.poolformer_mix(x + 3.7), poolformer.poolformer_mix(x), rtol=1e-9, atol=1e-12)
    assert float(jnp.abs(poolformer.poolformer_mix(x)).min()) > 0


def test_a_small_poolformer():
    """Inference sees examples apart; training drops whole branches of some examples, the same for the same key."""
    size = poolformer.Size((3,), (4,), 0.6, 0.3)
    model = poolformer.PoolFormer.create(jax.random.key(0), size, classes=5)
    assert sum(leaf.size for leaf in jax.tree.leaves(model)) == poolformer.num_parameters(size, classes=5)
    x = jax.random.normal(jax.random.key(1), (8, 16, 12, 3))
    plain, moved = jax.jit(jax.vmap(model))(jnp.stack([x, x.at[0].set(0.0)]))
    assert plain.shape == (8, 5)
    np.testing.assert_array_equal(moved[1:], plain[1:])
    keys = jax.vmap(jax.random.key)(jnp.array([2, 2, 3]))
    one, same, other = jax.jit(jax.vmap(lambda key: model(x, key)))(keys)
    np.testing.assert_array_equal(one, same)
    assert bool((one != other).any())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: mixed.gated_pool(x, jnp.ones(3), 2), "weights must have shape (4,) or (4, 2), got (3,)."),
        (lambda x: mixed.mixed_pool(x, 0.5, 7), "window must be at most as large as the padded input (6, 6)"),
        (lambda x: tree.tree_pool(x, jnp.ones((3, 4)), jnp.ones((2, 4)), 2), "leaves must have shape (L, K) with L a"),
        (lambda x: tree.tree_pool(x, jnp.ones((2, 9)), jnp.ones((1, 9)), 2), "leaves must have K = 4 weights"),
        (
            lambda x: tree.tree_pool(x, jnp.ones((4, 4)), jnp.ones((2, 4)), 2),
            "gates must have shape (3, 4), got (2, 4).",
        ),
        (lambda x: tree.Tree.create(jax.random.key(0), (2, 2), leaves=6), "leaves must be a power of two, at least 2"),
        (lambda x: tree.Tree.create(jax.random.key(0), (2, 2), leaf_init="zero"), "leaf_init must be one of"),
        (lambda x: poolformer.poolformer_mix(x, 4), "size must be odd and >= 1, got 4."),
        (lambda x: poolformer.PoolFormer.create(jax.random.key(0), "s18"), "size must be one of 's12'"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call(jnp.ones((1, 6, 6, 2)))


def test_keys_of_examples_make_branches_independent_of_the_batch():
    size = poolformer.Size((1, 2), (4, 8), 0.6, 0.3)
    model = poolformer.PoolFormer.create(jax.random.key(0), size, classes=3)
    x = jax.random.normal(jax.random.key(1), (6, 16, 16, 3))
    apply = jax.jit(lambda x, keys: model(x, keys))
    keys = jax.random.split(jax.random.key(2), 6)
    whole = apply(x, keys)
    np.testing.assert_allclose(apply(x[3:], keys[3:]), whole[3:], rtol=1e-4, atol=1e-6)
    assert bool((apply(x, jax.random.split(jax.random.key(3), 6)) != whole).any())
