"""The independent solver of the robust problem against ours on synthetic samples, and the shift of features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.data import samples
from experiments.halpern import robust as question
from research.halpern import extragradient, robust
from research.halpern.inclusions import Problem

SETTING = {"source": "digits", "scale": 2.0, "penalty": 0.1, "spread": 1.0}


@pytest.fixture
def few(monkeypatch):
    """Forty samples in place of a data set."""
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=(40, 3)) + 1, np.ones(40)])
    labels = np.where(features @ [1.0, -1.0, 0.5, 0.0] + rng.normal(size=40) > 0.5, 1.0, -1.0)
    monkeypatch.setattr(samples, "load", lambda name: samples.Labelled(features, labels))
    return features, labels


def test_the_independent_solver_finds_the_saddle_value_of_extragradient(x64, few):
    setting = ConfigDict(SETTING)
    inclusion = robust.robust_logistic(question.shifted(few[0], -0.3), few[1], scale=2.0, penalty=0.1, spread=1.0)
    problem = Problem(inclusion, robust.uniform_start(inclusion))
    result = jax.jit(extragradient.run)(problem, extragradient.Params(num_steps=1, stride=4000))
    assert float(result.trace.residual[-1]) < 1e-8
    expected = question.independent(setting, -0.3)["saddle"]
    assert float(robust.robust_objective(inclusion, result.u)) == pytest.approx(expected, abs=1e-9)


def test_a_shift_moves_all_columns_but_the_constant_one(few):
    moved = np.asarray(question.shifted(jnp.asarray(few[0]), -0.3))
    assert np.linalg.norm(moved, axis=1).mean() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(moved[:, :3] / moved[:, 3:], few[0][:, :3] - 0.3, rtol=1e-4, atol=1e-5)
