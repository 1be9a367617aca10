"""Sets and their answers, and what the quick run of the parity experiment reports."""

import functools

import jax
import numpy as np
import pytest

from experiments.pooling import panels_parity, set_models
from research.core import prng


@pytest.mark.parametrize("task", range(2), ids=set_models.TASKS)
def test_answers_are_right(task):
    draw = jax.jit(functools.partial(set_models.draw, sets=500, capacity=9, levels=8))
    levels, mask, answers = jax.device_get(draw(prng.root_key(task), task, low=2, high=7))
    sizes = mask.sum(axis=1)
    assert set(sizes) == set(range(2, 8))
    kept = [row[here] for row, here in zip(levels, mask, strict=True)]
    expected = [row.sum() % 2 for row in kept] if task == 0 else [np.sort(row)[1] for row in kept]
    np.testing.assert_array_equal(answers, expected)
    seen = np.concatenate(kept)
    assert set(seen) == set(range(2 if task == 0 else 8))
    assert set(answers) == set(seen)


@pytest.fixture
def run(finished):
    return finished("pooling")("parity.py:quick")


def test_shares_are_shares_and_order_changes_nothing_that_is_proved(run):
    accuracy, flips = run.results["accuracy"], run.results["flips"]
    assert accuracy.shape == flips.shape == (2, 1, len(run.config.run.sizes), run.config.run.replicates)
    assert ((accuracy >= 0) & (accuracy <= 1)).all()
    assert (run.results["defects"] >= 0).all()
    for task in range(2):
        proved = (run.results["defects"][task] == 0).all(axis=0)
        assert (flips[task, 0][:, proved] == 0).all()
    assert np.isnan(run.results["far"]).all()
    assert panels_parity.proved(run, "parity").value >= 0


def test_networks_learn(run):
    for task in set_models.TASKS:
        loss = run.curves[f"loss/{task}"]
        assert (loss[-1] < loss[0]).all()


def test_an_unknown_method_is_refused(run):
    with pytest.raises(ValueError, match=r"config.algo.methods must be one of 'sum', .* got 'median'\."):
        set_models.create(prng.root_key(0), "median", run.config.algo.sizes)
