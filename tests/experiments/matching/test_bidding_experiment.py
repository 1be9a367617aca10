"""The experiment's chunks are one run, coordination hurts nobody under shadow auctions, and budgets hold."""

import numpy as np
import pytest

from experiments.matching import bidding as question
from research.core import prng
from research.matching import bidding

ROUNDS = 512


@pytest.fixture(scope="module")
def played(play):
    return play("bidding.py:quick")


def test_chunks_are_one_run(played):
    config, curves = played
    rates = np.asarray(config.problem.budget_rates, np.float32)
    problem = bidding.uniform(prng.per_replicate(prng.root_key(config.seed), 1), ROUNDS, 4, rates)
    for rule in question.RULES:
        alone = bidding.run(problem, question.make_params(config, rule, ROUNDS))
        np.testing.assert_allclose(curves[f"utility/{rule}"][-1, 1], alone.utility, rtol=1e-5)


def test_nobody_loses_under_shadow_auctions_and_nobody_overspends(played):
    config, curves = played
    gain = curves["utility/shadow"][-1] - curves["utility/independent"][-1]
    assert gain.min() >= -1e-5
    budgets = ROUNDS * np.asarray(config.problem.budget_rates)
    for rule in question.RULES:
        assert (curves[f"spend/{rule}"][-1] <= budgets * (1 + 1e-5)).all()


def test_the_bound_exceeds_every_rule(quick):
    run = quick("bidding.py:quick")
    found = run.results
    for rule in question.RULES:
        assert (run.curves[f"utility/{rule}"][-1].sum(axis=1) <= found["bound"] * (1 + 1e-5)).all()
        honest = question.SCALES.index(1.0)
        np.testing.assert_allclose(found[f"lie/{rule}"][:, honest], 0, atol=1e-5)
