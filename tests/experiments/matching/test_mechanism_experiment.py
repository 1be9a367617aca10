"""Prices never lose to the rounding, lies never pay, and the price path is that of the sales."""

import jax
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.matching import families
from experiments.matching import mechanism as question
from research.core import prng

SMALL = {"problem.cases": (("er", 0.7, 3, 5), ("hard", 0.724, 3, 5)), "run.num_steps": 2, "run.replicates": 3,
         "algo.rollouts": (8,), "run.runs": 8}  # fmt: skip


@pytest.fixture(scope="module")
def curves(play):
    return play("mechanism.py:quick", SMALL)[1]


def test_welfare_lies_between_the_rounding_and_the_philosopher(curves):
    assert (curves["welfare"] >= curves["rounding"] - 1e-12).all()
    assert (curves["welfare"] <= curves["philosopher"] + 1e-12).all()
    assert (curves["revenue"] <= curves["welfare"] + 1e-12).all()
    assert (curves["rounding"] >= 0.678 * curves["dual"]).all()


def test_no_lie_pays(curves):
    assert curves["gain/exact"].max() <= 1e-12
    assert curves["gain/rollouts"].max() <= 1e-12


def test_the_price_path_ends_where_a_node_is_sold(x64):
    config = config_lib.resolve("configs/matching/mechanism.py:quick", SMALL).config
    batch = families.draw(prng.root_key(0), config.problem.cases, np.float64)
    path = question.price_path(config, jax.tree.map(lambda leaf: leaf[None], batch))
    prices, sold = path["price"], path["sold"]
    assert prices.shape == (5, 3)
    for node in range(3):
        times = np.flatnonzero(sold == node)
        assert len(times) <= 1
        last = times[0] if len(times) else 4
        assert np.isfinite(prices[: last + 1, node]).all()
        assert np.isinf(prices[last + 1 :, node]).all()
