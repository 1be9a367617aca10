"""Prices never lose to the rounding, lies never pay, and the price path is that of the sales."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def curves(play):
    return play("mechanism.py:quick")[1]


def test_welfare_lies_between_the_rounding_and_the_philosopher(curves):
    assert (curves["welfare"] >= curves["rounding"] - 1e-12).all()
    assert (curves["welfare"] <= curves["philosopher"] + 1e-12).all()
    assert (curves["revenue"] <= curves["welfare"] + 1e-12).all()
    assert (curves["rounding"] >= 0.678 * curves["dual"]).all()


def test_no_lie_pays(curves):
    assert curves["gain/exact"].max() <= 1e-12
    assert curves["gain/rollouts"].max() <= 1e-12


def test_the_price_path_ends_where_a_node_is_sold(quick):
    path = quick("mechanism.py:quick").results
    prices, sold = path["price"], path["sold"]
    assert prices.shape == (6, 3)
    for node in range(3):
        times = np.flatnonzero(sold == node)
        assert len(times) <= 1
        last = times[0] if len(times) else 5
        assert np.isfinite(prices[: last + 1, node]).all()
        assert np.isinf(prices[last + 1 :, node]).all()
