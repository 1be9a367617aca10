"""Bilinear problems with the constants asked for, solved to the accuracy asked for."""

import jax
import numpy as np
import pytest

from experiments.halpern import break_even
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib

SMALL = {"problem.sizes": (16,), "problem.ratios": (1.5, 4.0), "problem.accuracy": 0.1}


def test_spectra_have_the_ratio_asked_for():
    for n, ratio in ((16, 1.0), (16, 4.0), (300, 7.3)):
        values = np.arange(1.0, n + 1) ** -break_even.exponent(n, ratio)
        assert np.linalg.norm(values) == pytest.approx(ratio, rel=1e-6)
    config = config_lib.resolve("configs/halpern/break_even.py:quick", SMALL).config
    assert break_even.cases(config.problem) == [(16, 1.5), (16, 4.0)]
    (group,), _ = break_even.program(config, mesh_lib.build({"rep": 1})).init()
    inclusion = group["problem"].inclusion
    np.testing.assert_allclose(inclusion.lipschitz / inclusion.lipschitz_full, [1.5, 4.0], rtol=1e-4)
    norms = jax.tree.leaves(jax.tree.map(lambda part: (part**2).sum(axis=1), group["problem"].start))
    np.testing.assert_allclose(norms[0] + norms[1], 1, rtol=1e-5)


def test_both_methods_stop_at_the_accuracy(play):
    config, curves = play("break_even.py:quick", SMALL)
    for name in ("feg", "alg2"):
        assert (curves[f"status/{name}"] == 1).all()
        assert (curves[f"residual/{name}"] <= config.problem.accuracy * (1 + 1e-5)).all()
        assert (curves[f"epochs/{name}"] > 0).all()
