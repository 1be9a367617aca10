"""The simulated worst case follows its closed form, however the runs are cut into chunks."""

import numpy as np
import pytest

from research.matching import bounds


@pytest.fixture(scope="module")
def played(play):
    return play("worst_case.py:quick")


def test_simulation_agrees_with_the_formula(played):
    """8,192 runs of values in [0, 1]: by Hoeffding's inequality 0.04 is exceeded with probability 2 exp(-26)."""
    config, curves = played
    for scaling, rescaling in {"scaled": (config.algo.eps, config.algo.delta), "unscaled": (0.0, 0.0)}.items():
        for m in config.problem.exhausted:
            formula = np.asarray(bounds.hard_edge_ratio(m, np.asarray(config.problem.poisson), *rescaling))
            np.testing.assert_allclose(curves[f"{scaling}/{m}"][-1].mean(axis=0), formula, atol=0.04)


def test_chunks_change_nothing(played, play):
    _, curves = played
    _, other = play("worst_case.py:quick", {"problem.exhausted": (10,), "run.chunk": 256})
    np.testing.assert_allclose(other["scaled/10"][-1], curves["scaled/10"][-1], rtol=1e-6)


def test_the_philosopher_loses_nothing(quick):
    np.testing.assert_allclose(quick("worst_case.py:quick").results["philosopher"], 1, atol=1e-6)
