"""Metrics of loads, on the worked example and on what they must not depend on."""

import jax
import numpy as np
import pytest

from research.balancing import metrics

LOAD = np.array([5, 0, 1, 2])
summary = jax.jit(metrics.summary, static_argnames="num_devices")


def test_worked_example(x64):
    found = {name: float(value) for name, value in summary(LOAD, num_devices=2).items()}
    expected = {
        "max_vio": 1.5,
        "min_vio": 1.0,
        "dev_vio": 0.25,
        "cv": 0.935414,
        "entropy": 0.649397,
        "dead": 1,
        "tv": 0.375,
    }
    assert found == pytest.approx(expected, abs=5e-7)
    assert float(metrics.straggler_slowdown(LOAD, 2)) == 1.25
    assert float(metrics.straggler_slowdown(LOAD, 2, fixed=0.6)) == pytest.approx(1.1)


def test_balance_and_collapse_are_the_ends_of_every_scale(x64):
    even, single = summary(np.full(8, 3)), summary(np.eye(8, dtype=int)[0])
    balanced = {"max_vio": 0, "min_vio": 0, "dev_vio": 0, "cv": 0, "entropy": 1, "dead": 0, "tv": 0}
    assert {name: float(value) for name, value in even.items()} == pytest.approx(balanced)
    assert float(single["max_vio"]) == 7
    assert float(single["tv"]) == pytest.approx(7 / 8)
    assert float(single["entropy"]) == 0
    assert int(single["dead"]) == 7


def test_shares_and_tokens_give_the_same(x64):
    for name, value in summary(LOAD / 8.0).items():
        assert float(value) == pytest.approx(float(summary(LOAD)[name])), name


def test_scopes_count_together_what_they_say(x64):
    loads = np.random.default_rng(0).integers(1, 9, (3, 2, 4, 8))  # steps, micro-batches, replicas, experts
    scopes = jax.jit(lambda loads: metrics.max_violation_scopes(loads, group_size=2))(loads)
    assert scopes.computational.shape == (3, 2, 2)
    assert float(scopes.overall) == pytest.approx(float(metrics.max_violation(loads.sum(axis=(0, 1, 2)))))
    np.testing.assert_allclose(scopes.batch, metrics.max_violation(loads.sum(axis=(1, 2))))
    np.testing.assert_allclose(scopes.computational[1, 0, 1], metrics.max_violation(loads[1, 0, 2:].sum(axis=0)))
    # Counting more together never shows more.
    assert float(scopes.overall) <= float(scopes.batch.max()) <= float(scopes.computational.max())


def test_layers_are_reduced_by_mean_and_maximum():
    loads = np.stack([LOAD, np.full(4, 2)])
    reduced = jax.jit(lambda loads: metrics.over_layers(metrics.summary(loads)))(loads)
    assert float(reduced["max_vio/mean"]) == 0.75
    assert float(reduced["max_vio/max"]) == 1.5
