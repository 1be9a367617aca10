"""Work-normalised variance over a grid: one program, the replicates of every cell's own r."""

import jax
import numpy as np
import pytest

from experiments.mlmc import work
from research.core import prng
from research.mlmc import read, walks

SMALL = {"run.replicates": 1, "run.blocks": 2, "algo.block": 64, "algo.methods": ("block",)}


@pytest.fixture(scope="module")
def played(play):
    return play("work.py:A2,quick", SMALL)


def test_a_cell_sees_the_replicates_of_its_rate(played):
    config, curves = played
    key = prng.replicate_keys(prng.root_key(config.seed), 1)[0]
    seed = jax.random.key_data(prng.stream(key, "read"))
    ((rate,),) = work.cells(config)[1:]
    found = read.replicates(
        walks.walk("A2"), read.Params(r=(rate,), block=64, estimator="block"), seed, np.arange(128)
    )  # fmt: skip
    np.testing.assert_allclose(curves["variance/block"][1, 0], np.var(found.value, ddof=1), rtol=1e-4)
    assert curves["leaves"][1, 0] == np.asarray(found.leaves).mean()


def test_the_closed_form_is_drawn_where_it_is_finite():
    rates, values = work.closed_form(walks.walk("A3"), ((0.58,), (0.9,)), 0)
    assert rates[0] == 0.58
    assert rates[-1] == 0.735
    assert np.isfinite(values).all()
    assert min(values) == pytest.approx(3.6667, abs=2e-3)
