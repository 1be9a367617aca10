"""Full operators that are really evaluated: one in a few iterations with shared coins, all with coins of their own."""

import numpy as np
import pytest

from experiments.halpern import lanes
from experiments.lib import config as config_lib

SMALL = {"problem.size": 100, "problem.columns": 4, "problem.lanes": 3, "run.counted": 64}


@pytest.mark.slow  # the figure's quick form claims both counts
def test_coins_of_their_own_evaluate_everywhere():
    config = config_lib.resolve("configs/halpern/lanes.py:quick", SMALL).config
    found = lanes.count(config, lanes.instance(config))
    shared, own = found["evaluated"]
    assert own == 1
    assert (64 * shared) == pytest.approx(round(64 * shared))  # a whole number of refreshes, shared by all lanes
    assert 0.15 < shared < 0.6  # 64 coins of 0.33 on average: five standard deviations
    np.testing.assert_allclose(found["rate"], 0.33, atol=0.02)
