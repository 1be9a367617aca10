"""Simulations on eight devices: the same noise, and the same particles but for rounding."""

import jax
import numpy as np
import pytest

from research.core import prng, sharding
from research.mlmc import particle_mesh

pytestmark = pytest.mark.multi_device


def test_a_simulation_does_not_depend_on_the_devices(mesh):
    problem, params = particle_mesh.example(prng.root_key(0))
    keys = prng.replicate_keys(prng.root_key(1), 8)

    def run(key):
        return particle_mesh.linear_modes(problem, key, 8), particle_mesh.run(problem, params, key).displacement

    alone, spread = (jax.jit(sharding.replicates(run, where))(keys) for where in (None, mesh))
    np.testing.assert_allclose(spread[0], alone[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(spread[1], alone[1], rtol=1e-4, atol=1e-4)
    assert len(spread[1].sharding.device_set) == 8
