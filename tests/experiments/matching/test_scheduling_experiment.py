"""Shares belong to the sequences that were played, and no rule misses its guarantee."""

import numpy as np
import pytest

from experiments.matching import scheduling as question
from research.core import prng
from research.matching import scheduling, scheduling_oracles

CHANGES = {"problem.lengths": (3, 6), "run.num_steps": 2, "run.replicates": 6, "problem.grid": ((4, 3, 3),),
           "problem.game": ((4, 3),)}  # fmt: skip


@pytest.fixture(scope="module")
def played(play):
    config, curves = play("scheduling.py:quick", CHANGES)
    keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
    return config, curves, question.maximin_shares(config, keys)


def test_guarantees_hold(played):
    _, curves, found = played
    for name, (rule, agents, chores, _) in question.CONTESTS.items():
        ratio = scheduling_oracles.ratio(curves[f"load/{name}"], found[f"share/{name}"], chores=chores)
        bound = scheduling.guarantee(rule, agents, chores=chores)
        assert (ratio <= bound + 1e-5).all() if chores else (ratio >= bound - 1e-5).all(), name


def test_shares_are_those_of_the_sequences_played(played):
    """Loads of equal values add up to 1, and the share of one drawn sequence by the integer program."""
    config, curves, found = played
    np.testing.assert_allclose(curves["load/list_goods"].sum(axis=-1), 1, rtol=1e-5)
    key = prng.per_step(prng.stream(prng.per_replicate(prng.root_key(config.seed), 2), "two_chores"), 1)
    values = np.asarray(question.sequence(key, 6, 6, 2, False, config.problem.power), np.float64)
    for agent in range(2):
        share = scheduling_oracles.mms_milp(values[:, agent], 2, chores=True)
        assert found["share/two_chores"][1, 2, agent] == pytest.approx(share, abs=1e-6)


def test_adversaries_on_the_grid_respect_the_guarantees(played):
    found = question.adversaries(played[0])
    assert found["worst/two_goods"].min() >= 0.5
    assert found["worst/two_chores"].max() <= np.sqrt(2) + 1e-6
    assert found["game/goods"].min() >= found["worst/two_goods"].min()
    assert found["game/chores"].max() <= found["worst/two_chores"].max()
