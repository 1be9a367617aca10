"""Shares belong to the sequences that were played, and no rule misses its guarantee."""

import numpy as np
import pytest

from experiments.matching import scheduling as question
from research.core import prng
from research.matching import scheduling, scheduling_oracles


@pytest.fixture(scope="module")
def played(quick):
    run = quick("scheduling.py:quick")
    return run.config, run.curves, run.results


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
    values = np.asarray(question.sequence(key, 7, 5, 2, False, config.problem.power), np.float64)[:5]
    for agent in range(2):
        share = scheduling_oracles.mms_milp(values[:, agent], 2, chores=True)
        assert found["share/two_chores"][1, 2, agent] == pytest.approx(share, abs=1e-6)


def test_adversaries_on_the_grid_respect_the_guarantees(played):
    _, _, found = played
    assert found["worst/two_goods"].min() >= 0.5
    assert found["worst/two_chores"].max() <= np.sqrt(2) + 1e-6
    at = played[0].problem.grid.index([6, 4, 2]), played[0].problem.game.index([6, 4])
    assert found["game/goods"][at[1]] >= found["worst/two_goods"][at[0]]
    assert found["game/chores"][at[1]] <= found["worst/two_chores"][at[0]]
