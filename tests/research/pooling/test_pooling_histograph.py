"""Pooling over layers and nodes: the worked example, the theorem on signed weights, vanishing sums, errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import graph_bounds, histograph

HISTORY = [[(1, 0), (0.5, 0.2), (0.1, 0.1)], [(0, 1), (0.2, 0.5), (0.1, 0.1)]]


layers = jax.jit(histograph.layer_stage)


def plain(dim, dtype, **changes):
    """Identity projections."""
    eye = jnp.eye(dim, dtype=dtype)
    params = histograph.Histograph(*(eye,) * 7, jnp.ones(dim, dtype), jnp.zeros(dim, dtype))
    return dataclasses.replace(params, **changes)


def check_worked_example(dtype, rtol):
    params = plain(2, dtype, layer_key=jnp.array([(1, -0.5), (0.5, 1)], dtype))
    found = layers(jnp.array([HISTORY], dtype), jnp.ones((1, 2), bool), params)
    np.testing.assert_allclose(found.answers[0], [0.612664353, 1.102175928, 0.790990942], rtol=rtol)
    np.testing.assert_allclose(found.weights[0], [0.244495458, 0.439844439, 0.315660103], rtol=rtol)
    np.testing.assert_allclose(found.nodes[0], [(1.15312894, 0.470318368), (0.77668015, 0.846767157)], rtol=rtol)


def test_worked_example(x64):
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


@pytest.fixture(scope="module")
def run():
    return jax.jit(histograph.histograph, static_argnames="encode")


def test_both_stages_against_loops(run):
    """Two heads and padding, in NumPy by the formulas."""
    rng = np.random.default_rng(0)
    history = rng.normal(size=(2, 5, 3, 4)).astype(np.float32)
    mask = np.arange(5)[None] < np.array([[5], [3]])
    params = histograph.Histograph.create(jax.random.key(0), 4, 6, num_heads=2)
    pooled, layered = run(history, mask, params)
    weight = {name: np.asarray(getattr(params, name), np.float64) for name in
              ("project", "layer_query", "layer_key", "query", "key", "value", "output")}  # fmt: skip
    for row, count in enumerate((5, 3)):
        z = history[row, :count] @ weight["project"] + histograph.layer_encoding(3, 6)
        c = np.array([
            np.mean([z[n, 2] @ weight["layer_query"] @ weight["layer_key"].T @ z[n, l] for n in range(count)])
            for l in range(3)  # noqa: E741
        ]) / 6**0.5  # fmt: skip
        np.testing.assert_allclose(layered.answers[row], c, rtol=1e-4, atol=1e-5)
        h = np.einsum("l,nld->nd", c / c.sum(), z)
        out = np.zeros((count, 6))
        for head in (slice(0, 3), slice(3, 6)):
            q, k, v = (h @ weight[name][:, head] for name in ("query", "key", "value"))
            share = np.exp(q @ k.T / 3**0.5)
            out[:, head] = share / share.sum(axis=1, keepdims=True) @ v
        h = h + out @ weight["output"]
        normed = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(pooled[row], normed.mean(axis=0), rtol=1e-3, atol=1e-3)


def smooth_history(seed):
    """Layers beyond the second are the same for all nodes."""
    history = np.random.default_rng(seed).normal(size=(1, 4, 6, 3))
    history[:, :, 2:] = history[:, :1, 2:]
    return history


@pytest.mark.parametrize("seed", range(5))
def test_what_early_layers_tell_apart_stays_apart(x64, seed):
    """Theorem: the gap of two nodes is that of the filtered early layers; a last-layer readout sees none."""
    history, mask = smooth_history(seed), jnp.ones((1, 4), bool)
    params = histograph.Histograph.create(jax.random.key(seed), 3, 3)
    found = layers(jnp.asarray(history), mask, params)
    projected = history @ np.asarray(params.project)
    for u, v in ((0, 1), (1, 3)):
        early = np.einsum("l,ld->d", np.asarray(found.weights[0, :2]), (projected[0, u] - projected[0, v])[:2])
        gap = np.linalg.norm(np.asarray(found.nodes[0, u] - found.nodes[0, v]))
        assert gap == pytest.approx(np.linalg.norm(early), rel=1e-9)
        assert gap == pytest.approx(graph_bounds.node_gap(projected, found.weights, u, v)[0], rel=1e-9)
        assert gap > 1e-3
        assert np.ptp(history[0, [u, v], -1], axis=0).max() == 0


def test_signed_weights_realise_filters_and_softmax_positive_ones_only():
    rng = np.random.default_rng(0)
    for taps in ([1, -1, 1], [2, 0, -1], *rng.normal(size=(20, 5))):
        weights = graph_bounds.layer_filter(taps)
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_allclose(weights * np.sum(taps), taps, atol=1e-12)
    with pytest.raises(ValueError, match=r"taps must have a sum other than 0, got \[1.0, -1.0\]."):
        graph_bounds.layer_filter([1, -1])
    answers = jnp.asarray(rng.normal(size=(200, 5)), jnp.float32)
    soft, _ = histograph.layer_weights(answers, "softmax")
    signed, _ = histograph.layer_weights(answers, "signed")
    assert (np.asarray(soft) > 0).all()
    assert (np.asarray(signed) < 0).any()


def test_a_vanishing_sum_falls_back_to_the_softmax_and_says_so():
    answers = jnp.array([(1.0, -1.0), (1.0, -0.9), (0.0, 0.0), (-2.0, -1.0)])
    weights, vanished = histograph.layer_weights(answers, "signed")
    assert vanished.tolist() == [True, False, True, False]
    np.testing.assert_allclose(weights[0], jax.nn.softmax(answers[0]), rtol=1e-6)
    np.testing.assert_allclose(weights[1], [10, -9], rtol=1e-4)
    np.testing.assert_allclose(weights[3], [2 / 3, 1 / 3], rtol=1e-6)
    gradient = jax.grad(lambda c: (histograph.layer_weights(c, "signed")[0] ** 2).sum())(answers)
    assert np.isfinite(gradient).all()


def test_nodes_in_any_order(run):
    rng = np.random.default_rng(1)
    history = rng.normal(size=(2, 5, 3, 4)).astype(np.float32)
    mask = np.arange(5)[None] < np.array([[5], [3]])
    params = histograph.Histograph.create(jax.random.key(3), 4, 6, num_heads=2)
    place = rng.permutation(5)
    one, other = run(history, mask, params)[0], run(history[:, place], mask[:, place], params)[0]
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    empty = run(history, np.zeros((2, 5), bool), params)[0]
    assert not np.asarray(empty).any()


def test_graphs_of_one_row_are_as_if_alone():
    """Three graphs of 4, 2 and 3 nodes and one without any, nodes in any order, padding between them."""
    rng = np.random.default_rng(2)
    sizes, ids = (4, 2, 0, 3), np.array([[0, 3, 1, 0, 0, 0, 3, 1, 0, 3, 1]])
    mask = np.array([[1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0]], bool)
    history = rng.normal(size=(1, 11, 3, 4)).astype(np.float32)
    params = histograph.Histograph.create(jax.random.key(4), 4, 6, num_heads=2)
    together = jax.jit(lambda history: histograph.histograph(history, mask, params, graph_ids=ids, num_graphs=4))
    pooled, layered = together(history)
    assert pooled.shape == (1, 4, 6)
    assert layered.weights.shape == (1, 4, 3)
    for graph, size in enumerate(sizes):
        rows = mask[0] & (ids[0] == graph)
        assert rows.sum() == size
        if size:
            alone, expected = histograph.histograph(history[:, rows], np.ones((1, size), bool), params)
            np.testing.assert_allclose(pooled[:, graph], alone, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(layered.weights[:, graph], expected.weights, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(layered.nodes[:, rows], expected.nodes, rtol=1e-4, atol=1e-5)
    assert not np.asarray(pooled[0, 2]).any()
    spoiled = np.where(mask[..., None, None], history, np.nan)
    np.testing.assert_array_equal(together(spoiled)[0], pooled)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: histograph.histograph(
                jnp.ones((1, 2, 1, 4)),
                jnp.ones((1, 2), bool),
                plain(4, jnp.float32),
                graph_ids=jnp.array([[0, 2]]),
                num_graphs=2,
            ),
            r"graph_ids must lie in \[0, 1\], got 2 at index \(0, 1\).",
        ),
        (
            lambda: histograph.histograph(
                jnp.ones((1, 2, 1, 4)), jnp.ones((1, 2), bool), plain(4, jnp.float32), num_graphs=2
            ),
            "num_graphs must be 1 without graph_ids, got 2.",
        ),
        (lambda: histograph.Histograph.create(jax.random.key(0), 3, 4, 3), "num_heads must divide dim = 4, got 3."),
        (
            lambda: histograph.Histograph.create(jax.random.key(0), 3, 4, normalize="l1"),
            "normalize must be one of 'signed', 'softmax', got 'l1'.",
        ),
        (
            lambda: histograph.histograph(jnp.ones((2, 3, 4)), jnp.ones((2, 3), bool), plain(4, jnp.float32)),
            r"history must have shape \(B, N, L, F\), got \(2, 3, 4\).",
        ),
        (
            lambda: histograph.histograph(jnp.ones((2, 3, 4, 5)), jnp.ones((2, 3), bool), plain(4, jnp.float32)),
            "history must have 4 channels, got 5.",
        ),
        (
            lambda: histograph.histograph(jnp.ones((2, 3, 4, 4)), jnp.ones((2, 3)), plain(4, jnp.float32)),
            "mask must hold booleans, got float32.",
        ),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
