"""The comparison of routers: its small model, and what its quick run reports."""

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
import pytest

from experiments.balancing import byte_mixture, operator_rows, panels_operators
from research.core import prng


@pytest.fixture
def run(finished):
    return finished("balancing")("operators.py:quick")


def test_every_router_reports_what_its_definition_allows(run):
    slots = run.config.problem.sequences * run.config.problem.length * run.config.algo.top_k
    for label in run.axes["router"]:
        found = {metric: panels_operators.row(run, metric, label) for metric in panels_operators.METRICS}
        assert all(np.isfinite(values).all() for values in found.values())
        assert (found["violation"] >= found["device_violation"] - 1e-6).all()
        assert ((found["dropped"] >= 0) & (found["dropped"] < 1)).all()
        dropped = found["dropped"] * slots
        np.testing.assert_allclose(dropped, dropped.round(), atol=1e-3)
    assert (panels_operators.row(run, "violation", "expert choice") == 0).all()
    assert (panels_operators.row(run, "dropped", "top-K") == 0).all()
    assert (panels_operators.row(run, "dropped", "drop by score") > 0).all()
    assert (panels_operators.row(run, "unique", "sharing, vote") <= 8).all()
    # Rerouting fills places that dropping leaves empty, with experts of lower score than the optimum's.
    reroute, drop = (panels_operators.row(run, "value", label) for label in ("reroute", "drop by score"))
    assert ((drop < reroute) & (reroute < 1)).all()


def test_the_model_learns(run):
    assert (run.curves["loss"][-1] < run.curves["loss"][0]).all()
    assert (run.curves["balance"] >= 0).all()


def test_the_table_has_a_line_for_each_router(run):
    table = panels_operators.table(run)
    assert [row[0] for row in table.rows] == list(run.axes["router"])
    assert np.isnan([row[-1] for row in table.rows]).all()  # the quick form takes no time


def test_an_unknown_router_is_refused():
    algo = mlc.ConfigDict({"routers": ("top-k",), "experts": 16, "top_k": 2, "recurrent": 4})
    with pytest.raises(ValueError, match=r"config.algo.routers must be one of 'top-K', 'Mixtral', .* got 'top-k'\."):
        operator_rows.made(algo)
    every = operator_rows.made(mlc.ConfigDict({**algo, "routers": tuple(operator_rows.ROWS)}))
    assert {router.num_experts for label, router in every.items() if label != "shared pools"} == {16}


def test_sequences_are_consecutive_bytes():
    text = jnp.arange(200, dtype=jnp.uint8)
    batch = jax.jit(lambda key: byte_mixture.batch_of(text, key, 3, 5))(prng.root_key(0))
    assert batch.window.shape == (15, byte_mixture.CONTEXT)
    np.testing.assert_array_equal(np.diff(batch.window.astype(int), axis=1), 1)
    np.testing.assert_array_equal(batch.following, batch.window[:, -1] + 1)
    np.testing.assert_array_equal(batch.sequence, np.repeat(np.arange(3), 5))


def test_experts_add_up_by_their_gates():
    rng = np.random.RandomState(0)
    up, down, hidden = (rng.randn(*shape).astype(np.float32) for shape in ((3, 4, 6), (3, 6, 4), (5, 4)))
    index, gate = np.array([[0, 1], [2, 3], [1, 0], [3, 3], [2, 1]]), rng.rand(5, 2).astype(np.float32)
    found = jax.jit(lambda *given: byte_mixture.experts_of(up, down)(*given))(hidden, index, gate)
    expected = np.zeros((5, 4))
    for i in range(5):
        for e, g in zip(index[i], gate[i], strict=True):
            if e < 3:  # others are unused slots and experts without weights
                expected[i] += g * (np.maximum(hidden[i] @ up[e], 0) @ down[e])
    np.testing.assert_allclose(found, expected, atol=1e-4)
