"""Padded cases give what each case gives alone, and simulation stays below the truth."""

import jax
import numpy as np
import pytest

from experiments.lib import lanes
from experiments.matching import rewards
from research.core import prng
from research.matching import stochastic_rewards


@pytest.fixture(scope="module")
def played(play):
    return play("rewards.py:quick")


def test_padding_changes_nothing(played):
    """The smallest case, played alone with the same keys: the same runs one by one."""
    config, curves = played
    place = config.problem.cases.index(("permuted", 4, 0.25))
    problem = rewards.instances(config)[place]
    key = prng.per_replicate(prng.root_key(config.seed), 1)
    params = stochastic_rewards.Params(problem.success.shape[1], "balance")
    keys = lanes.run_keys(key, 0, config.run.chunk)
    alone = jax.vmap(lambda one: stochastic_rewards.run(problem, params, one).value)(keys)
    assert float(np.mean(alone)) == pytest.approx(float(curves["balance"][0, 1, place]), rel=1e-6)


def test_nothing_beats_the_best_policy(quick):
    """2,048 runs of values up to the sum of weights: Hoeffding's margin for a false alarm of 1e-7 in twenty."""
    run = quick("rewards.py:quick")
    best = run.results["optimum"]
    assert (best > 0).all()
    assert (best <= run.results["lp"] + 1e-5).all()
    most = np.array([float(np.sum(problem.weights)) for problem in rewards.instances(run.config)])
    margin = most * np.sqrt(np.log(2e8) / (2 * 2048))
    for policy in rewards.POLICIES:
        assert (run.curves[policy][-1].mean(axis=0) <= best + margin).all()
