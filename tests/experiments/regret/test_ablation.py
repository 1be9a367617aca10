"""Every variant is what its name says: the group learner, or a baseline, run on its own."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.regret import panels_ablation, sources, variants
from research.regret import baselines, groupwise

STAND_IN = sources.medical("stand_in")
GRID = (0.1, 1.0)
ROUNDS = 256


def resolved(**changes):
    changes = {
        "problem.source": "stand_in", "run.num_steps": ROUNDS, "run.chunk": ROUNDS, "algo.regularization": GRID,
        "algo.step_sizes": (0.1, 0.3), "run.replicates": 2, "numerics.x64": False,
    } | changes  # fmt: skip
    return config_lib.resolve("configs/regret/ablation.py:quick", changes).config


@pytest.fixture(scope="module")
def played():
    """The problem of the second shuffle, and every variant's loss of every group in it."""
    program = variants.program(resolved(), mesh_lib.build({"rep": 1}), STAND_IN)
    data, state = program.init()
    _, losses = program.advance(data, state)
    problem = dataclasses.replace(data.table, order=data.order[1])
    return problem, {name: np.asarray(loss[1]) for name, loss in losses.items()}


def learner(problem, **options):
    options = {"clip": (0.0, 1.0)} | options
    return groupwise.run(problem, groupwise.Params(num_steps=ROUNDS, form="recursion", **options)).group_loss


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("default", {}),
        ("aa", {"meta": "aa"}),
        ("ewa", {"meta": "ewa"}),
        ("expected", {"combine": "expected"}),
        ("unclipped", {"clip": None}),
        ("paper", {"combine": "expected", "clip": None}),
        ("vaw", {"forecaster": "vaw"}),
        ("anh/lambda=0.1", {"regularization": 0.1}),
        ("aa/lambda=0.1", {"regularization": 0.1, "meta": "aa"}),
    ],
)
def test_a_variant_is_the_learner_with_its_options(played, variant, options):
    problem, losses = played
    np.testing.assert_allclose(losses[variant], learner(problem, **options), rtol=1e-3, atol=1e-4)


def test_the_default_is_lambda_one(played):
    _, losses = played
    np.testing.assert_allclose(losses["default"], losses[variants.swept("anh", 1.0)], rtol=1e-4)


def test_without_everybody_there_is_one_expert_less(played):
    problem, losses = played
    fewer = dataclasses.replace(problem, awake=problem.awake[:, :-1], prior=jnp.full(11, 1 / 11))
    np.testing.assert_allclose(losses["without_always_on"][:-1], learner(fewer), rtol=1e-3, atol=1e-4)


def test_online_ridge_is_the_expert_of_everybody(played):
    problem, losses = played
    params = groupwise.Params(num_steps=ROUNDS, clip=(0.0, 1.0), form="recursion")
    alone = baselines.online_ridge(problem, params).loss
    np.testing.assert_allclose(losses["online_ridge_clipped"][-1], jnp.sum(alone), rtol=1e-3)
    swept = losses[variants.swept("ridge", 1.0)]
    np.testing.assert_allclose(swept, losses["online_ridge_clipped"], rtol=1e-3, atol=1e-4)


def test_gradient_descent_is_the_best_of_its_steps(played):
    problem, losses = played
    params = groupwise.Params(num_steps=ROUNDS, clip=(0.0, 1.0))
    each = [float(jnp.sum(baselines.gradient_descent(problem, params, size).loss)) for size in (0.1, 0.3)]
    np.testing.assert_allclose(losses["gradient_descent"][-1], min(each), rtol=1e-4)


def test_every_drawn_variant_exists():
    assert {row.variant for row in panels_ablation.ROWS} <= set(
        variants.names(config_lib.resolve("configs/regret/ablation.py").config)
    )


def test_all_rounds_come_in_one_step():
    with pytest.raises(ValueError, match=r"config.run.chunk must equal config.run.num_steps, got 128\."):
        variants.program(resolved(**{"run.chunk": 128}), mesh_lib.build({"rep": 1}), STAND_IN)


def test_the_grid_must_contain_the_default():
    with pytest.raises(ValueError, match=r"config.algo.regularization must contain 1\.0"):
        variants.program(resolved(**{"algo.regularization": (0.1, 10.0)}), mesh_lib.build({"rep": 1}), STAND_IN)
