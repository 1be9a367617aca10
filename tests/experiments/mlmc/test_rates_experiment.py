"""Errors against cost: what is drawn is what was sampled."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.mlmc import panels_rates, rates
from research.mlmc import nested

SMALL = {"run.num_steps": 6, "run.chunk": 2, "run.replicates": 3, "algo.block": 64}


@pytest.fixture(scope="module")
def played(play):
    return play("rates.py:d1,quick", SMALL)


def test_the_running_mean_is_the_mean_of_the_means(played):
    _, curves = played
    expected = np.cumsum(curves["mean"], axis=0) / np.arange(1, 4)[:, None]
    np.testing.assert_allclose(curves["running"], expected, rtol=1e-5)


def test_a_replicate_has_at_least_one_leaf(played):
    config, curves = played
    assert (curves["leaves"] >= config.algo.block * config.run.chunk).all()
    assert (curves["leaves"] == np.round(curves["leaves"])).all()
    assert (curves["deviation"] > 0).all()


def test_nested_estimates_have_the_leaves_of_their_allocation():
    config = config_lib.resolve("configs/mlmc/rates.py:d1,quick", {"run.replicates": 2}).config
    found = rates.nested_estimates(config)
    assert found["exact"] == 1.25
    for name, sizes in rates.allocations(config, 1).items():
        assert found[name].shape == (len(sizes), 2)
        assert found[f"{name}_leaves"].tolist() == [nested.num_leaves(counts) for counts in sizes]
        assert len(set(found[name].ravel().tolist())) == found[name].size  # each with draws of its own


def test_slope_of_an_exact_power():
    leaves = np.array([10.0, 100, 1000])
    squares = np.array([1.0, 2, 3]) * leaves[:, None] ** -0.5
    found = panels_rates.slope(leaves, squares)
    np.testing.assert_allclose(found[:3], [-0.5] * 3, atol=1e-12)


def test_groups_of_blocks_are_disjoint_and_complete():
    means = np.arange(16.0).reshape(8, 2)
    run = SimpleNamespace(curves={"mean": means, "leaves": np.full((8, 2), 5.0)}, results={"exact": 0.0})
    leaves, squares = panels_rates.read_errors(run)
    assert leaves.tolist() == [5, 10]
    np.testing.assert_allclose(squares[0], (means**2).mean(axis=0))
    np.testing.assert_allclose(squares[1], (means.reshape(4, 2, 2).mean(axis=1) ** 2).mean(axis=0))
