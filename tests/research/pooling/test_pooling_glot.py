"""Pooling over token graphs: the worked example, the graph itself, its two limits, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import glot

Y = [(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2)]


def check_worked_example(dtype, rtol):
    layer = glot.GraphAttention(
        *(jnp.array(v, dtype) for v in ([(1, 0.5), (-0.5, 1)], (0.3, -0.1), (0.2, 0.4), (0, 0)))
    )
    layer = glot.GraphAttention(layer.weight, source=layer.source, target=layer.target, bias=layer.bias)
    params = glot.Glot((layer,), jnp.full((4, 2), 0.3, dtype), jnp.zeros(2, dtype), jnp.array([1, -0.5], dtype), 0.6)
    mask = jnp.arange(5)[None] < 4
    found = jax.jit(glot.glot)(jnp.array([Y], dtype), mask, params)
    np.testing.assert_allclose(found.weights[0], [0.242637992, 0.250502518, 0.252940402, 0.253919088, 0], rtol=rtol)
    np.testing.assert_allclose(found.pooled[0], [1.75931938, 2.025000076, 1.224840223, 3.214981407], rtol=rtol)


def test_worked_example(x64):
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


def test_the_graph_joins_what_points_the_same_way():
    x = jnp.array([[(1, 0), (3, 0.1), (0, 2), (0, 0), (5, 5)]], jnp.float32)
    mask = jnp.array([[True, True, True, True, False]])
    graph = np.asarray(glot.token_graph(x, mask, 0.6))[0]
    wanted = np.eye(5, dtype=bool)
    wanted[0, 1] = wanted[1, 0] = True
    wanted[4] = False  # padding; the zero vector has no neighbour but itself
    np.testing.assert_array_equal(graph, wanted)
    everything = np.asarray(glot.token_graph(x, mask, -1.0))[0]
    assert everything[:3, :3].all()


@pytest.fixture(scope="module")
def run():
    return jax.jit(glot.glot)


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(5)
    return rng.normal(size=(3, 6, 4)).astype(np.float32), np.arange(6)[None] < np.array([[6], [4], [0]])


def test_it_is_attention_over_the_graph(run, sequences):
    """Against loops over tokens and neighbours in NumPy."""
    x, mask = sequences
    params = glot.Glot.create(jax.random.key(0), 4, 3, num_layers=2, threshold=0.2, scorer=5)
    found = run(x, mask, params)
    for row, count in enumerate((6, 4)):
        h = x[row, :count].astype(np.float64)
        unit = h / np.linalg.norm(h, axis=1, keepdims=True)
        near = (unit @ unit.T > 0.2) | np.eye(count, dtype=bool)
        features = [h]
        for layer in params.layers:
            values, out = h @ np.asarray(layer.weight), []
            for i in range(count):
                at = np.flatnonzero(near[i])
                logit = values[i] @ np.asarray(layer.target) + values[at] @ np.asarray(layer.source)
                share = np.exp(np.where(logit > 0, logit, 0.2 * logit))
                out.append(np.maximum(share / share.sum() @ values[at] + np.asarray(layer.bias), 0))
            h = np.array(out)
            features.append(h)
        joined = np.concatenate(features, axis=1)
        score = np.tanh(joined @ np.asarray(params.scorer_in)) @ np.asarray(params.scorer_out)
        weights = np.exp(score) / np.exp(score).sum()
        np.testing.assert_allclose(found.weights[row, :count], weights, rtol=2e-5)
        np.testing.assert_allclose(found.pooled[row], weights @ joined, rtol=2e-4, atol=1e-5)
    assert not np.asarray(found.pooled[2]).any()  # a sequence without tokens


def test_without_layers_it_weighs_tokens_one_by_one(run, sequences):
    x, mask = sequences
    params = glot.Glot.create(jax.random.key(1), 4, num_layers=0, scorer=5)
    found = run(x, mask, params)
    alone = run(x[:, ::-1], mask[:, ::-1], params)
    np.testing.assert_allclose(found.pooled, alone.pooled, rtol=1e-5, atol=1e-6)
    assert found.pooled.shape == (3, 4)
    assert params.scorer_in.shape == (4, 5)
    assert glot.Glot.create(jax.random.key(1), 300, 10, num_layers=2).scorer_in.shape == (320, 160)


def test_no_gradient_goes_through_the_graph(sequences):
    x, mask = sequences
    gradient = jax.jit(jax.grad(lambda x: glot.token_graph(x, mask, 0.6).astype(x.dtype).sum()))(x)
    assert not np.asarray(gradient).any()


@pytest.mark.parametrize(
    ("x", "mask", "threshold", "message"),
    [
        (jnp.ones((2, 3)), jnp.ones((2, 3), bool), 0.5, r"x must have shape \(B, T, D\), got \(2, 3\)."),
        (jnp.ones((2, 3, 4)), jnp.ones((2, 4), bool), 0.5, r"mask must have shape \(2, 3\), got \(2, 4\)."),
        (jnp.ones((2, 3, 4)), jnp.ones((2, 3)), 0.5, "mask must hold booleans, got float32."),
        (jnp.ones((2, 3, 4)), jnp.ones((2, 3), bool), 1.5, r"threshold must lie in \[-1, 1\], got 1.5."),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(x, mask, threshold, message):
    with pytest.raises(ValueError, match=message):
        glot.glot(x, mask, glot.Glot.create(jax.random.key(0), 4, 2, num_layers=1, threshold=threshold, scorer=2))
