"""The New York program on the stand-in: arrivals are shares of the trips, drivers are drawn, bounds hold."""

import numpy as np
import pytest

from experiments.data import nyc
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib

SMALL = {"problem.source": "stand_in", "problem.drivers": 3, "problem.steps": 5, "run.replicates": 3}


@pytest.fixture(scope="module")
def curves(play):
    return play("nyc.py:small,quick", SMALL)[1]


def test_bounds_hold_and_more_riders_are_worth_more(curves):
    assert (curves["primal"] <= curves["dual"] * (1 + 1e-6)).all()
    assert (curves["dual"] - curves["primal"] <= 1e-3 * curves["dual"] * (1 + 1e-3)).all()
    best = curves["value/philosopher"]
    assert (best <= curves["dual"] * (1 + 1e-5)).all()
    assert (curves["value/closed_form"] >= 0.678 * curves["dual"]).all()
    for name in ("closed_form", "unscaled", "keep", "greedy", "bid_price"):
        assert (curves[f"value/{name}"] <= best * (1 + 1e-5)).all()
    assert (np.diff(best, axis=0) > 0).all()


def test_arrivals_are_the_shares_of_their_quarters():
    from experiments.matching import nyc as question

    config = config_lib.resolve("configs/matching/nyc.py:small,quick", SMALL).config
    (shared, _), _ = question.program(config, mesh_lib.build({"rep": 1})).init()
    shares, worth = map(np.asarray, shared)
    counts = nyc.load("stand_in").counts[0, 28 + 4 * np.arange(5)]  # five times over twenty quarters
    np.testing.assert_allclose(shares, counts / counts.sum(axis=1, keepdims=True), rtol=1e-5)
    assert (np.diag(worth) == 1).all()
    assert ((worth >= 0) & (worth <= 1)).all()
    np.testing.assert_array_equal(worth, worth.T)
