"""Attention over sets, training in two phases, norms that are learned, supersets: worked example, facts, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from research.pooling import attention, faset, gnp, superset

Y = np.array([(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2)], np.float32)
W = np.array([[0.5, -0.2], [0.1, 0.3]], np.float32)
KEY = jax.random.key(0)


def test_worked_example(x64):
    for dtype, rtol in ((np.float64, 1e-6), (np.float32, 2e-5)):
        found = attention.attsets(Y[None].astype(dtype), W.astype(dtype))
        np.testing.assert_allclose(found, [(2.87103535, 2.367184359)], rtol=rtol if dtype == np.float32 else 1e-7)


def test_layouts_and_outputs_agree():
    module = attention.AttSets.create(KEY, 2, outputs=3, bias=True)
    module = eqx.tree_at(lambda m: m.bias, module, jnp.linspace(-1, 1, 6))
    ids, mask = np.array([0, 0, 2, 2, 2]), np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    dense = np.full((3, 3, 2), np.nan, np.float32)
    dense[mask] = Y
    found = module(dense, mask)
    np.testing.assert_allclose(module(Y, segment_ids=ids, num_segments=3), found, rtol=1e-6)
    weights = scipy.special.softmax(Y[:2] @ np.asarray(module.weight) + np.asarray(module.bias), axis=0)
    np.testing.assert_allclose(found[0], (weights * np.tile(Y[:2], 3)).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found[1], 0)
    pool = attention.AttentionPool.create(KEY, 2, 4, gated=True)
    logits = (np.tanh(Y[2:] @ pool.hidden) / (1 + np.exp(-Y[2:] @ pool.gate))) @ pool.score
    expected = scipy.special.softmax(logits) @ Y[2:]
    np.testing.assert_allclose(pool(Y, segment_ids=ids, num_segments=3)[2], expected, rtol=1e-5)
    np.testing.assert_allclose(pool(dense, mask)[2], expected, rtol=1e-5)


@pytest.fixture(scope="module")
def phases():
    """A model, what each phase makes of it, and sets; the target is the largest sum of an element's channels."""
    keys = jax.random.split(KEY, 3)
    x = jax.random.normal(keys[0], (300, 16, 6, 2))
    model = faset.FASet.create(keys[1], 2, 8)

    def loss(model, batch):
        return jnp.mean((model(batch[0]) - batch[1]) ** 2)

    def two_phases(model):
        single = jax.vmap(faset.singletons)(x, jnp.zeros((300, 16, 1)))[0]
        alone = single, single.sum(axis=-1)
        together = x, x.sum(axis=-1).max(axis=-1, keepdims=True)
        # Singles see the whole of a batch: 96 sets of one element.
        base, of_base = faset.train(model, "base", alone, loss, optax.adam(1e-2))
        final, of_final = faset.train(base, "attention", together, loss, optax.adam(1e-2))
        slope = eqx.filter_grad(loss)(model, jax.tree.map(lambda leaf: leaf[0], alone))
        return base, final, of_base, of_final, slope

    return (model, x, *jax.jit(two_phases)(model))


def test_attention_learns_nothing_from_single_elements(phases):
    model, _, base, _, losses, _, slope = phases
    np.testing.assert_array_equal(slope.attention.weight, 0)
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope.encoder))
    np.testing.assert_array_equal(base.attention.weight, model.attention.weight)
    assert losses[-50:].mean() < 0.05 * losses[:10].mean()


def test_the_second_phase_leaves_single_elements_alone(phases):
    _, x, base, final, _, losses, _ = phases
    single = x[0].reshape(-1, 1, 2)
    np.testing.assert_array_equal(final(single), base(single))
    for part in ("encoder", "decoder"):
        for before, after in zip(*(jax.tree.leaves(getattr(m, part)) for m in (base, final)), strict=True):
            np.testing.assert_array_equal(before, after)
    assert np.abs(final.attention.weight - base.attention.weight).max() > 0.1
    assert losses[-50:].mean() < 0.5 * losses[:10].mean()


def test_norms_are_bounded_and_name_their_laws():
    branch = gnp.Branch.create()
    np.testing.assert_allclose([branch.p, branch.q], [1, 0.5], rtol=1e-6)
    for theta, p in ((1e4, 50.0), (-1e4, 1e-3)):
        np.testing.assert_allclose(gnp.Branch(jnp.float32(theta), branch.q, -1).p, -p, rtol=1e-6)
    module = gnp.GNP.create(KEY, 2, 3)
    assert module(Y[None]).shape == (1, 3)
    x = np.abs(Y[None]) + 1
    halves = [
        gnp.Branch(b.theta, b.q, b.sign)(x[..., i : i + 1]) for i, b in enumerate((module.rising, module.falling))
    ]
    np.testing.assert_allclose(module(x), jnp.concatenate(halves, axis=-1) @ module.mix, rtol=1e-5)


def test_a_superset_is_seen_and_order_is_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 7, 2)).astype(np.float32)
    inside = np.arange(7)[None] < np.array([7, 5, 4, 6])[:, None]
    subset = rng.random((4, 7)) < 0.4
    order = rng.permuted(np.tile(np.arange(7), (4, 1)), axis=1)
    x[~inside] = np.nan

    def moved(array):
        return np.take_along_axis(array, order if array.ndim == 2 else order[..., None], axis=1)

    pool, scores = superset.SupersetPool.create(KEY, 2, 8), superset.SupersetScores.create(KEY, 2, 8)
    found = pool(x, subset, inside)
    np.testing.assert_allclose(pool(moved(x), moved(subset), moved(inside)), found, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(pool(x, subset | ~inside, inside), found)  # S is S and V
    by_element = np.asarray(scores(x, inside))
    np.testing.assert_allclose(scores(moved(x), moved(inside)), moved(by_element), rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(by_element[~inside], 0)
    # Another superset, the same subset: the pool tells them apart, a model of S alone cannot.
    other = np.where((inside & ~subset)[..., None], x + 1, x)
    assert (np.abs(pool(other, subset, inside) - found) > 1e-3).any()
    alone = superset.DeepSets.create(KEY, 2, 8)
    np.testing.assert_array_equal(alone(other, subset & inside), alone(x, subset & inside))


REFUSED = [
    (lambda: attention.attsets(Y[None], W[:, :1]), r"weight must have a multiple of 2 columns, got 1\."),
    (lambda: attention.attsets(Y[None], W, W[0, :1]), r"bias must have shape \(2\), got \(1,\)\."),
    (lambda: attention.attention_pool(Y[None], W, W[0, :1]), r"score must have shape \(2\), got \(1,\)\."),
    (lambda: attention.attention_pool(Y[None], W[:1], W[0]), r"hidden must have shape \(2, any\), got \(1, 2\)\."),
    (lambda: attention.AttSets.create(KEY, 2, 0), r"outputs must be >= 1, got 0\."),
    (lambda: faset.trainable(None, "all"), r"phase must be one of 'base', 'attention', got 'all'\."),
    (lambda: gnp.GNP.create(KEY, 3), r"dim must be even and >= 2, got 3\."),
    (lambda: gnp.Branch.create((), 0), r"sign must be one of 1, -1, got 0\."),
    (lambda: gnp.law("median"), r"name must be one of 'sum', .*, got 'median'\."),
    (lambda: superset.Perceptron.create(KEY, 3), r"widths must be two or more numbers >= 1, got \(3,\)\."),
    (lambda: superset.superset_pool(Y[None], Y[None], Y[None, :, 0] > 0, kind="max"), "kind must be one of 'sum'"),
    (lambda: superset.superset_pool(Y[None], Y[None], Y[None] > 0), r"subset must have shape \(1, 5\), got "),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
