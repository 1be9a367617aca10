"""The class A program on a few rows: the stated constants, budgets that are kept, and the bound."""

import jax
import numpy as np
import pytest

from experiments.halpern import least_squares
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib

SMALL = {"problem.size": 400, "problem.epochs": (10, 40), "run.num_steps": 2, "run.replicates": 3}
METHODS = ("gd", "page_half")


@pytest.fixture(scope="module")
def played(play):
    return play("least_squares.py:quick", SMALL | {"algo.methods": METHODS})


def test_the_instance_has_the_stated_constants():
    config = config_lib.resolve("configs/halpern/least_squares.py:quick", SMALL | {"algo.methods": ("gd",)}).config
    (cases,), _ = least_squares.program(config, mesh_lib.build({"rep": 1})).init()
    inclusion = jax.tree.map(lambda leaf: leaf[0], cases["problem"].inclusion)
    assert float(inclusion.lipschitz) == pytest.approx(np.sum(1 / np.arange(1.0, 51) ** 2), rel=1e-5)
    assert float(inclusion.lipschitz_full) == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(np.linalg.norm(inclusion.features, axis=1) ** 2, inclusion.lipschitz, rtol=1e-5)


def test_budgets_are_kept_and_full_methods_do_not_depend_on_seeds(played):
    config, curves = played
    stride = config.run.stride
    for name in METHODS:
        spent = curves[f"epochs/{name}"][..., 0]
        assert (spent >= np.asarray(config.problem.epochs)[:, None]).all()
    assert (curves["epochs/gd"][..., 0] == np.asarray(config.problem.epochs)[:, None]).all()
    assert (curves["epochs/page_half"] < np.asarray(config.problem.epochs)[:, None, None] + stride).all()
    assert np.ptp(curves["residual/gd"], axis=1).max() == 0
    assert np.ptp(curves["residual/page_half"][-1]) > 0


def test_the_certified_step_stays_below_its_bound(played):
    """The bound is for the root mean square; at its constants three seeds are far enough below it."""
    config, curves = played
    program = least_squares.program(config, mesh_lib.build({"rep": 1}))
    (cases,), _ = program.init()
    inclusion = jax.tree.map(lambda leaf: leaf[0], cases["problem"].inclusion)
    found = least_squares.bound(inclusion, config.problem.epochs[-1])
    limit = np.interp(curves["epochs/page_half"][..., 0].mean(axis=1), found["bound_epochs"], found["bound"])
    assert (np.sqrt(np.mean(curves["residual/page_half"][..., 0] ** 2, axis=1)) < 0.5 * limit).all()
    assert (np.diff(found["bound"]) < 0).all()
