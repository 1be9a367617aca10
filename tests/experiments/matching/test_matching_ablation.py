"""The grid and the named rescalings are the same program, and the modes keep the order that theory gives them."""

import numpy as np
import pytest

FIRST = {"problem.cases": (("er", 0.6, 3, 5), ("hard", 0.724, 4, 5)), "run.num_steps": 2, "run.replicates": 4}


@pytest.fixture(scope="module")
def curves(play):
    changes = FIRST | {"algo.eps": (0.048, 0.11), "algo.delta": (0.0643, 0.18)}
    return play("ablation.py:quick", changes)[1]


def test_grid_holds_the_published_pairs(curves):
    np.testing.assert_allclose(curves["grid"][..., 0], curves["closed_form"][..., 1], rtol=1e-9)
    np.testing.assert_allclose(curves["grid"][..., 3], curves["closed_form"][..., 2], rtol=1e-9)


def test_pivotal_and_the_closed_form_start_alike_and_nothing_beats_the_bound(curves):
    assert np.abs(curves["pivotal"] / curves["closed_form"] - 1).max() < 0.02
    for mode in ("closed_form", "pivotal", "bins", "independent", "keep"):
        assert (curves[mode] <= curves["dual"][..., None] * (1 + 1e-9)).all()
    assert (curves["closed_form"][..., 2] >= 0.678 * curves["dual"]).all()


def test_the_hard_instance_needs_the_rescaling(curves):
    assert (curves["closed_form"][1, :, 2] > curves["closed_form"][1, :, 0]).all()
