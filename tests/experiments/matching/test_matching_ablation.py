"""The grid and the named rescalings are the same program, and the modes keep the order that theory gives them."""

import numpy as np
import pytest

PUBLISHED = "0.11, 0.18"


@pytest.fixture(scope="module")
def curves(play):
    return play("ablation.py:quick")[1]


def test_grid_holds_the_published_pair(quick, curves):
    point = quick("ablation.py:quick").axes["point"].index(PUBLISHED)
    np.testing.assert_allclose(curves["grid"][..., point], curves["closed_form"][..., 2], rtol=1e-9)


def test_pivotal_and_the_closed_form_start_alike_and_nothing_beats_the_bound(curves):
    assert np.abs(curves["pivotal"] / curves["closed_form"] - 1).max() < 0.02
    for mode in ("closed_form", "pivotal", "bins", "independent", "keep"):
        assert (curves[mode] <= curves["dual"][..., None] * (1 + 1e-9)).all()
    assert (curves["closed_form"][..., 2] >= 0.678 * curves["dual"]).all()


def test_the_hard_instance_needs_the_rescaling(curves):
    assert (curves["closed_form"][-1, :, 2] > curves["closed_form"][-1, :, 0]).all()
