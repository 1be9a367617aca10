"""Padded cases give what each case gives alone, and simulation stays below the truth."""

import jax
import numpy as np
import pytest

from experiments.lib import lanes
from experiments.matching import rewards
from research.core import prng
from research.matching import stochastic_oracles, stochastic_rewards

CASES = (("permuted", 3, 0.5), ("clicks", 4, 10))


@pytest.fixture(scope="module")
def played(play):
    changes = {"problem.cases": CASES, "run.replicates": 2, "run.num_steps": 512, "run.chunk": 256}
    return play("rewards.py:quick", changes)


def test_padding_changes_nothing(played):
    """The smaller case, played alone with the same keys: the same runs one by one."""
    config, curves = played
    problem = rewards.instances(config)[0]
    key = prng.per_replicate(prng.root_key(config.seed), 1)
    params = stochastic_rewards.Params(problem.success.shape[1], "balance")
    keys = lanes.run_keys(key, 0, 256)
    alone = jax.vmap(lambda one: stochastic_rewards.run(problem, params, one).value)(keys)
    assert float(np.mean(alone)) == pytest.approx(float(curves["balance"][0, 1, 0]), rel=1e-6)


def test_nothing_beats_the_best_policy(played):
    """1,024 runs of values below 3 (and below 40 for clicks): Hoeffding's margin for a false alarm of 1e-7 in eight."""
    config, curves = played
    for place, problem in enumerate(rewards.instances(config)):
        best = float(stochastic_rewards.optimum(problem))
        program, _ = stochastic_oracles.matching_program(problem.success, problem.weights)
        assert best <= program + 1e-5
        most = float(np.sum(problem.weights))
        margin = most * np.sqrt(np.log(8e7) / (2 * 1024))
        for policy in rewards.POLICIES:
            assert curves[policy][-1].mean(axis=0)[place] <= best + margin
