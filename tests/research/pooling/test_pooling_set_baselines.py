"""PMA, Set2Set, PNA and LAF against plain NumPy, in both layouts, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import set_baselines as baselines

KEY = prng.root_key(0)
SIZES = np.array([4, 1, 3])
MASK = np.arange(4)[None] < SIZES[:, None]
X = np.asarray(jax.random.uniform(KEY, (3, 4, 5)))
#: Every one of them, as a function of elements and a layout.
POOLS = {
    "pma": baselines.PMA.create(KEY, 5, 6, seeds=2, heads=3),
    "set2set": baselines.Set2Set.create(KEY, 5),
    "pna": lambda x, mask=None, **layout: baselines.pna(x, mask, delta=1.2, **layout),
    "laf": baselines.LAF.create(KEY, 3),
}


def softmax(logits):
    weights = np.exp(logits - logits.max(0))
    return weights / weights.sum(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus_inverse(y):
    return np.log(np.expm1(y))


@pytest.mark.parametrize("name", POOLS)
def test_flat_sets_are_dense_ones(name):
    ids = np.repeat(np.arange(3), SIZES)
    dense = POOLS[name](X, MASK)
    for order, is_sorted in ((np.arange(len(ids)), True), (np.random.default_rng(0).permutation(len(ids)), False)):
        flat = POOLS[name](X[MASK][order], segment_ids=ids[order], num_segments=3, sorted=is_sorted)
        np.testing.assert_allclose(flat, dense, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLS)
def test_an_empty_set_is_what_is_asked_for(name):
    pooled = POOLS[name](X, MASK & (np.arange(3) > 0)[:, None], empty=-2.0)
    np.testing.assert_array_equal(pooled[0], -2.0)
    np.testing.assert_array_equal(pooled[1:], POOLS[name](X, MASK)[1:])


def test_pma_is_multihead_attention_of_the_seeds():
    pool = POOLS["pma"]
    weights = jax.tree.map(np.asarray, pool)
    asked = weights.seeds @ weights.query
    for group, size in enumerate(SIZES):
        x = X[group, :size]
        heads = []
        for head in range(3):
            part = slice(2 * head, 2 * head + 2)
            attention = softmax((x @ weights.key)[:, part] @ asked[:, part].T / np.sqrt(6))
            heads.append(attention.T @ (x @ weights.value)[:, part])
        found = asked + np.concatenate(heads, axis=1)
        found = found + np.maximum(found @ weights.out + weights.bias, 0)
        np.testing.assert_allclose(pool(X, MASK)[group], found.ravel(), rtol=2e-5, atol=1e-6)


def test_set2set_is_its_recurrence():
    pool = POOLS["set2set"]
    for group, size in enumerate(SIZES):
        x, (q, r, cell) = X[group, :size], np.zeros((3, 5))
        for _ in range(pool.steps):
            gates = np.concatenate([q, r]) @ pool.kernel + q @ pool.recurrent + pool.bias
            enter, forget, new, leave = np.split(np.asarray(gates), 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
            q = sigmoid(leave) * np.tanh(cell)
            r = softmax(x @ q) @ x
        np.testing.assert_allclose(pool(X, MASK)[group], np.concatenate([q, r]), rtol=2e-5, atol=1e-6)


def test_pna_by_hand():
    found = baselines.pna(jnp.array([[[1.0], [2.0], [6.0]]]), delta=np.log(2), eps=1e-12)[0]
    statistics = np.array([3, 6, 1, np.sqrt(14 / 3)])
    np.testing.assert_allclose(found, np.concatenate([statistics, 2 * statistics, statistics / 2]), rtol=1e-6)


def test_laf_holds_sums_means_and_nearly_the_maximum():
    """Units: sum / 1, mean, and sum x^61 / sum x^60, which is near the largest element."""
    tiny = 1e-30
    powers = np.full((4, 2, 3), softplus_inverse(1.0))
    powers[2, 1] = np.log(tiny)  # f = 0: counts
    powers[2, 0, 0] = np.log(tiny)  # e = 0: one
    powers[0, 1, 2], powers[2, 1, 2] = 61.0, 60.0
    weights = np.array([[1.0] * 3, [0.0] * 3, [softplus_inverse(1.0)] * 3, [np.log(tiny)] * 3])
    x = np.array([0.2, 0.5, 0.9], np.float32)
    found = baselines.LAF(jnp.asarray(powers, jnp.float32), jnp.asarray(weights, jnp.float32))(x[None, :, None])[0]
    np.testing.assert_allclose(found, [1.6, 1.6 / 3, 0.9], rtol=1e-4)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: baselines.PMA.create(KEY, 5, 6, heads=4), "heads must divide the width 6, got 4"),
        (lambda: baselines.PMA.create(KEY, 5, 6, seeds=0), "seeds must be >= 1, got 0"),
        (lambda: POOLS["pma"](X[..., :4]), r"x must have shape \(3, 4, 5\), got \(3, 4, 4\)"),
        (lambda: POOLS["set2set"](X[..., :4]), r"x must have shape \(3, 4, 5\), got \(3, 4, 4\)"),
        (lambda: baselines.Set2Set.create(KEY, 5, steps=0), "steps must be >= 1, got 0"),
        (lambda: baselines.pna(X, delta=0.0), "delta must be positive and finite, got 0"),
        (lambda: baselines.LAF.create(KEY, 0), "units must be >= 1, got 0"),
        (lambda: POOLS["laf"](X + 1), r"x must lie in \[0, 1\], got"),
        (lambda: POOLS["laf"](X[0]), "x must have shape"),
    ],
)
def test_bad_input_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()
