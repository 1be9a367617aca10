"""Bounds: measured root mean squares stay below, and the reflected iteration attains its own."""

import jax
import numpy as np
import pytest

from experiments.halpern import bounds
from experiments.lib import config as config_lib

CHANGES = {
    "problem.size": 16, "problem.dim": 3, "problem.saddle_size": 6, "problem.instances": 2, "run.num_steps": 4,
    "run.replicates": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def allowed():
    """What bounds allow, by method."""
    config = config_lib.resolve("configs/halpern/bounds.py:quick", CHANGES).config
    with jax.enable_x64(True):
        return bounds.allowed(config, jax.jit(lambda: bounds.drawn(config))())


@pytest.mark.slow  # the figure's quick form holds the upper limits of the same runs against the same bounds
def test_root_mean_squares_stay_below_their_bounds(play, allowed):
    """Of 64 seeds. Bounds hold in expectation: at these sizes measured squares are below half of the allowed ones, and
    their relative standard error is below 0.1, so that exceeding takes more than ten of them."""
    _, curves = play("bounds.py:quick", CHANGES)
    for name in bounds.methods():
        squares = curves[name]
        assert squares.shape == (4, 64, 2)
        ratio = np.sqrt(squares.mean(axis=1)) / np.asarray(allowed[f"allowed/{name}"])
        assert ratio.max() <= 1 + 1e-9, name
        assert ratio.max() > 0.05, f"{name}: a bound that loose would test nothing"
        if name in ("exact", "reflected"):
            assert np.ptp(squares, axis=1).max() <= 1e-12


def test_bounds_start_at_the_first_checkpoint(allowed):
    assert np.asarray(allowed["counts/exact"])[0] == 0
    assert np.asarray(allowed["counts/page"])[0] == bounds.STRIDES["page"]
    exact, reflected = (np.asarray(allowed[f"allowed/{name}"])[0, 0] for name in ("exact", "reflected"))
    assert exact == pytest.approx(reflected)  # 2 R / 2 and R / 1
