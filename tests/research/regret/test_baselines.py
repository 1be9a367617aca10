"""Baselines against the few lines of NumPy that define them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.regret import baselines, groupwise, problems, ridge

NUM_ROUNDS = 50


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    features, labels = rng.random((NUM_ROUNDS, 4)), rng.random(NUM_ROUNDS)
    awake = rng.random((NUM_ROUNDS, 3)) < (0.5, 0.2, 0.6)
    order = rng.permutation(NUM_ROUNDS)
    return problems.from_arrays(features, labels, awake, order=order, dtype=jnp.float32)


@pytest.fixture(scope="module")
def shown(data):
    order = np.asarray(data.order)
    return tuple(np.asarray(a, np.float64)[order] for a in (data.features, data.labels, data.awake))


def test_online_ridge_is_the_expert_that_is_always_awake(data, shown):
    x, y, _ = shown
    params = groupwise.Params(NUM_ROUNDS, 0.5, form="recursion", clip=(0.3, 0.7))
    played = jax.jit(baselines.online_ridge)(data, params)
    for t in range(NUM_ROUNDS):
        moment = x[:t].T @ x[:t] + 0.5 * np.eye(4)
        made = np.clip(x[t] @ np.linalg.solve(moment, x[:t].T @ y[:t]), 0.3, 0.7)
        assert played.prediction[t] == pytest.approx(made, abs=1e-5)
        assert played.loss[t] == pytest.approx((made - y[t]) ** 2, abs=1e-5)


def test_smallest_group_and_uniform_average(data, shown):
    _, y, awake = shown
    params = groupwise.Params(NUM_ROUNDS, form="recursion", clip=(0.0, 1.0))
    made = jax.jit(ridge.run)(data, groupwise.expert_params(params)).trace.predictions
    routed = baselines.smallest_group(data, params, made)
    averaged = baselines.uniform_average(data, params, made)
    sizes, made = awake.sum(axis=0), np.clip(made, 0, 1)
    assert not awake.any(axis=1).all()
    for t in range(NUM_ROUNDS):
        groups = np.flatnonzero(awake[t])
        smallest = made[t, min(groups, key=lambda g: sizes[g])] if len(groups) else 0
        mean = made[t, groups].mean() if len(groups) else 0
        assert routed.prediction[t] == pytest.approx(smallest, abs=1e-6)
        assert averaged.prediction[t] == pytest.approx(mean, abs=1e-6)
        assert averaged.loss[t] == pytest.approx((mean - y[t]) ** 2, abs=1e-6)


def test_gradient_descent(data, shown):
    x, y, _ = shown
    params = groupwise.Params(NUM_ROUNDS + 3, clip=(0.0, 0.6))
    played = jax.jit(baselines.gradient_descent)(data, params, 0.4, 0.1)
    theta = np.zeros(4)
    for t in range(NUM_ROUNDS):
        made = x[t] @ theta
        assert played.prediction[t] == pytest.approx(np.clip(made, 0, 0.6), abs=1e-5)
        rate = 0.4 / np.sqrt(t + 1)
        theta = theta - rate * 0.1 * theta + rate * (y[t] - made) * x[t]
    np.testing.assert_array_equal(played.loss[NUM_ROUNDS:], 0)
