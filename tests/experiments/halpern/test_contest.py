"""Races: budgets are kept, seeds differ where something is drawn, and the deterministic facts of the figures hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.halpern import contest, games, instances
from experiments.lib import config as config_lib
from research.core import prng
from research.halpern import quadratics
from research.halpern.inclusions import Problem

SMALL = {
    "problem.size": 40, "problem.epochs": (4.0, 16.0), "run.num_steps": 2, "run.replicates": 3,
    "algo.methods": ("eg", "restarted"),
}  # fmt: skip


@pytest.fixture(scope="module")
def game(play):
    return play("game.py:quick", SMALL)[1]


def test_every_method_spends_its_budget_and_at_most_a_stride_more(game):
    budgets = np.asarray(SMALL["problem.epochs"])[:, None, None]
    assert (game["epochs/eg"] == budgets).all()  # 2 epochs an iteration
    # A resolvent costs one full operator, n draws of two calls, and 2 +- 1.4 snapshots: 15 is eight deviations.
    assert (game["epochs/restarted"] >= budgets).all()
    assert (game["epochs/restarted"] <= budgets + 15).all()


def test_seeds_are_independent_where_something_is_drawn(game):
    assert np.ptp(game["residual/eg"], axis=1).max() == 0
    assert (np.ptp(game["residual/restarted"], axis=1) > 0).all()
    assert np.ptp(game["epochs/restarted"][-1]) > 0  # coins differ too: replicates share none


def test_distinct_draws_are_uniform_and_distinct():
    """Each of 20 counts is Binomial(4096, 0.2): 205 is eight standard deviations, 2 exp(-2 * 205**2 / 4096) = 3e-9."""
    problem = instances.distinct(Problem(quadratics.ouyang_xu(20)[0], (jnp.zeros(20), jnp.zeros(20))))
    drawn = np.asarray(problem.inclusion.sample(prng.root_key(0), (4096, 4)))[..., 0]
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    assert np.abs(np.bincount(drawn.ravel(), minlength=20) - 4096 * 0.2).max() < 205


def test_the_solved_inclusion_knows_its_resolvent(x64):
    problem, distance = instances.saddle(prng.root_key(1), 0.5, 6, jnp.float64)
    v = problem.inclusion.resolvent(problem.start, 2.0)
    back = jax.tree.map(lambda v, f: v + 2.0 * f, v, problem.inclusion.full(v))
    for one, other in zip(back, problem.start, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    assert distance == pytest.approx(np.sqrt(sum(float(jnp.sum(part**2)) for part in problem.start)))


def test_predictions_follow_the_constants(x64):
    config = config_lib.resolve("configs/halpern/games.py").config
    shapes, build = games.groups_of(config)
    settings = [[one._replace(size=60) for one in group if one.name in ("nemirovski", "uniform")] for group in shapes]
    found = games.predictions(tuple(build(tuple(group)) for group in settings if group))
    ratio = found["lipschitz"] / found["lipschitz_full"]
    assert ratio[0] < found["break_even"][0] < ratio[1]
    assert found["predicted"].tolist() == [1, 0]


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="method must be one of 'eg'"):
        contest.enter("sgd", None)
