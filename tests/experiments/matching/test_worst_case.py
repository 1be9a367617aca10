"""The simulated worst case follows its closed form, however the runs are cut into chunks."""

import numpy as np
import pytest

from experiments.matching import worst_case
from research.matching import bounds

SMALL = {"problem.exhausted": (6,), "problem.poisson": (0.3, 0.724), "run.replicates": 4, "run.num_steps": 1024}


@pytest.fixture(scope="module")
def played(play):
    return play("worst_case.py:quick", SMALL | {"run.chunk": 512})


def test_simulation_agrees_with_the_formula(played):
    """4,096 runs of values in [0, 1]: by Hoeffding's inequality 0.05 is exceeded with probability 2 exp(-20) < 1e-8."""
    config, curves = played
    for scaling, rescaling in {"scaled": (config.algo.eps, config.algo.delta), "unscaled": (0.0, 0.0)}.items():
        formula = np.asarray(bounds.hard_edge_ratio(6, np.asarray(config.problem.poisson), *rescaling))
        np.testing.assert_allclose(curves[f"{scaling}/6"][-1].mean(axis=0), formula, atol=0.05)


def test_chunks_change_nothing(played, play):
    _, curves = played
    _, other = play("worst_case.py:quick", SMALL | {"run.chunk": 256})
    np.testing.assert_allclose(other["scaled/6"][-1], curves["scaled/6"][-1], rtol=1e-6)


def test_the_philosopher_loses_nothing(played):
    config, _ = played
    np.testing.assert_allclose(worst_case.exact(config)["philosopher"], 1, atol=1e-6)
