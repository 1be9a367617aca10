"""Examples over eight devices: the batches, losses and weights of one device."""

import importlib

import jax
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib

pytestmark = pytest.mark.multi_device

CASES = {
    "a residual network": ("configs/pooling/imagenet.py:quick", {}),
    "a PoolFormer": ("configs/pooling/imagenet_pod.py:quick,poolformer", {}),
    # Stripes of unequal length in both parts.
    "embeddings with GSP": ("configs/pooling/retrieval.py:quick", {}),
    "pools of states": ("configs/pooling/frozen_states.py:quick", {"algo.poolings": ("last", "graph")}),
    "a captioner of drawn budgets": ("configs/pooling/budgets.py:quick", {}),
    # Not top-k pooling or parsing: they choose by scores, and with other last bits choose others (0.4 % of a loss).
    "means of molecules, with dropout": ("configs/pooling/molecules_pod.py:quick", {"algo.pool": "mean"}),
    "HISTOGRAPH of molecules": ("configs/pooling/molecules.py:quick", {"algo.pool": "histograph"}),
}


def curves(reference, mesh, changed):
    resolved = config_lib.resolve(reference, changed)
    experiment = importlib.import_module(f"experiments.{resolved.config.experiment}")
    program = experiment.program(resolved.config, mesh_lib.build(mesh))
    data, state = program.init()
    state, metrics = program.advance(data, state)
    return jax.device_get((state[0], metrics))


@pytest.mark.parametrize("name", CASES)
def test_devices_change_no_number_beyond_rounding(name):
    reference, changed = CASES[name]
    (weights, found), (alone, expected) = (curves(reference, mesh, changed) for mesh in ({"data": 8}, {"rep": 1}))
    assert found.keys() == expected.keys()
    for metric in expected:
        np.testing.assert_allclose(found[metric], expected[metric], rtol=2e-3, atol=2e-4, err_msg=metric)
    for one, other in zip(jax.tree.leaves(weights), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
