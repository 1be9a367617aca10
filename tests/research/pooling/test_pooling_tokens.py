"""Pools of token sequences: the worked example W9, padding anywhere, the router; and pooling over layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import attention, layer_pool, tokens

Y = np.array([(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2.0)])
MASK = np.array([True, True, True, True, False])


@pytest.fixture(scope="module")
def scorer():
    return attention.AttentionPool.create(prng.root_key(0), 2, 4)


@pytest.fixture(scope="module")
def every(scorer):
    """(x, mask) -> all kinds, and which windows there are."""
    params = {"attention": {"kernel": scorer.hidden, "context": scorer.score}, "windowed": {"windows": 2}}

    @jax.jit
    def pooled(x, mask):
        found = {kind: tokens.token_pool(x, kind, mask, params.get(kind)) for kind in tokens.KINDS}
        return found | {"there": tokens.windowed_mean(x, mask, 2)[1]}

    return pooled


def check_worked_example(dtype, rtol):
    y = jnp.asarray(Y, dtype)[None]

    @jax.jit
    def measured(y):
        weighted = tokens.token_pool(y, "position_weighted", MASK[None])
        return weighted, tokens.token_pool(y, "windowed", None, {"windows": 2})

    weighted, windowed = measured(y)
    np.testing.assert_allclose(weighted[0], [2.1, 2.7], rtol=rtol)
    np.testing.assert_allclose(windowed[0], [(1.5, 0.5), (2, 3.5)], rtol=rtol)


@pytest.mark.usefixtures("x64")
def test_worked_example():
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


def by_hand(kept, scorer):
    """The kinds on the tokens alone, in NumPy."""
    logits = np.tanh(kept @ np.asarray(scorer.hidden)) @ np.asarray(scorer.score)
    weights = np.exp(logits - logits.max())
    used = min(2, len(kept))
    width = len(kept) // used
    windows = [kept[i * width : (i + 1) * width].mean(axis=0) for i in range(used)]
    return {
        "mean": kept.mean(axis=0),
        "max": kept.max(axis=0),
        "first": kept[0],
        "last": kept[-1],
        "position_weighted": np.average(kept, axis=0, weights=np.arange(1, len(kept) + 1)),
        "attention": weights @ kept / weights.sum(),
        "windowed": np.stack(windows + [np.zeros(2)] * (2 - used)),
        "there": np.arange(2) < used,
    }


def test_padding_counts_for_nothing_wherever_it_is(every, scorer):
    """Every mask of six tokens that leaves one or more, against the tokens alone."""
    masks = (np.arange(1, 64)[:, None] >> np.arange(6)) % 2 == 1
    x = np.random.default_rng(0).normal(size=(63, 6, 2)).astype(np.float32)
    x[~masks] = np.nan
    found = every(x, masks)
    for row, mask in enumerate(masks):
        for kind, expected in by_hand(x[row, mask], scorer).items():
            np.testing.assert_allclose(found[kind][row], expected, rtol=1e-5, atol=1e-6, err_msg=f"{kind} {mask}")


def test_an_empty_sequence_gives_zero(every):
    for value in every(np.full((63, 6, 2), np.nan, np.float32), np.zeros((63, 6), bool)).values():
        np.testing.assert_array_equal(value, 0)


def test_position_weights_sum_to_one():
    mask = np.array([[False, True, False, True, True], [False] * 5])
    weights = jax.jit(tokens.position_weights)(mask)
    np.testing.assert_allclose(weights, [[0, 1 / 6, 0, 2 / 6, 3 / 6], [0] * 5], rtol=1e-6)


def test_normalised_vectors_select_by_cosine():
    y = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    value, slope = jax.jit(jax.value_and_grad(lambda y: tokens.normalized(y)[:, 0].sum()))(y)
    assert value == pytest.approx(0.6)
    assert np.isfinite(slope).all()


def test_the_router_averages_over_the_windows_that_there_are():
    """A sequence of one token is routed as that token alone; the linear layers are those of the module."""
    router = tokens.WindowRouter.create(prng.root_key(1), 2, 8, windows=4)
    x = np.random.default_rng(1).normal(size=(1, 9, 2)).astype(np.float32)
    route = jax.jit(lambda x, mask: router(x, mask))
    mask = np.arange(9)[None] < 8

    def logits(mean):
        return jax.nn.gelu(mean @ router.first, approximate=True) @ router.second

    expected = np.mean([logits(x[0, 2 * w : 2 * w + 2].mean(axis=0)) for w in range(4)], axis=0)
    np.testing.assert_allclose(route(x, mask)[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(route(x, np.arange(9)[None] == 3)[0], logits(x[0, 3]), rtol=1e-5, atol=1e-6)


def test_layer_pooling_is_that_of_its_docstring():
    """One head, in NumPy and double precision; and the variant over the last layer sees that layer's tokens only."""
    params = layer_pool.LayerPool.create(prng.root_key(2), 3, 4, latents=2, heads=1, head_width=3)
    hiddens = np.random.default_rng(2).normal(size=(2, 3, 5, 4)).astype(np.float32)
    mask = np.array([[True] * 5, [True, False, True, True, False]])
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def expected(context):
        q, k, v = norm(p.latents) @ p.query, norm(context) @ p.key, norm(context) @ p.value
        weights = np.exp(q @ k.T / np.sqrt(3))
        z = (weights / weights.sum(-1, keepdims=True)) @ v @ p.out + p.latents
        value, gate = np.split(norm(z) @ p.expand, 2, axis=-1)
        z = (value * np.asarray(jax.nn.gelu(gate, approximate=False))) @ p.contract + z
        return z.mean(0) / np.linalg.norm(z.mean(0))

    pool = jax.jit(layer_pool.layer_pool)
    found, empty = pool(hiddens, mask, params), pool(hiddens, mask & False, params)
    np.testing.assert_array_equal(empty, 0)
    last = layer_pool.LayerPool.create(prng.root_key(2), 3, 4, latents=2, heads=1, head_width=3, variant="last")
    of_last = pool(np.where(np.arange(3)[:, None, None] == 2, hiddens, np.nan), mask, last)
    for row in range(2):
        means = np.stack([layer[mask[row]].mean(axis=0) for layer in hiddens[row]]) + p.layer_embedding
        np.testing.assert_allclose(found[row], expected(means), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(of_last[row], expected(hiddens[row, 2][mask[row]]), rtol=1e-4, atol=1e-5)


X = np.ones((2, 5, 3), np.float32)
POOL = layer_pool.LayerPool.create(prng.root_key(0), 2, 3, latents=2, heads=1, head_width=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tokens.token_pool(X, "median"), "kind must be one of 'mean', .* got 'median'"),
        (lambda: tokens.token_pool(X, "last", np.ones((2, 4), bool)), r"mask must have shape \(2, 5\), got \(2, 4\)"),
        (lambda: tokens.token_pool(X, "last", np.ones((2, 5))), "mask must be boolean, got float"),
        (lambda: tokens.token_pool(X[0], "first"), r"x must have shape \(G, N, D\)"),
        (lambda: tokens.token_pool(X, "mean", None, {"windows": 2}), "params must have no key but .* for kind 'mean'"),
        (lambda: tokens.token_pool(X, "attention"), r"params must have the keys \['context', 'kernel'\], got \[\]"),
        (
            lambda: tokens.token_pool(X, "attention", None, {"kernel": np.ones((4, 2)), "context": np.ones(2)}),
            r"params\['kernel'\] must have shape \(3, any\), got \(4, 2\)",
        ),
        (lambda: tokens.windowed_mean(X, None, 0), "windows must be >= 1, got 0"),
        (
            lambda: layer_pool.layer_pool(X[:, None], np.ones((2, 5), bool), POOL),
            r"hiddens must have shape \(any, 2, any, 3\), got \(2, 1, 5, 3\)",
        ),
        (
            lambda: layer_pool.LayerPool.create(prng.root_key(0), 2, 3, variant="first"),
            "variant must be one of 'layers', 'last', got 'first'",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
