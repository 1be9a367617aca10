"""Matching on eight devices: simulators draw and decide what one device does; the philosopher's top bits spread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from research.core import prng, sharding
from research.matching import philosopher, problems, rounding, simulation

pytestmark = pytest.mark.multi_device


@pytest.mark.parametrize("mode", ["closed_form", "pivotal"])
def test_runs_do_not_depend_on_the_devices(mesh, mode):
    problem, _ = rounding.example(prng.root_key(0))
    params = rounding.Params(mode=mode)
    keys = prng.replicate_keys(prng.root_key(1), 64)

    def run(key):
        return rounding.run(problem, params, key)

    alone = jax.jit(sharding.replicates(run, None))(keys)
    spread = jax.jit(sharding.replicates(run, mesh))(keys)
    np.testing.assert_array_equal(alone.trace.matched, spread.trace.matched)
    np.testing.assert_array_equal(alone.state.free, spread.state.free)


def test_the_batch_simulator_does_not_depend_on_the_devices(mesh):
    problem, _ = rounding.example(prng.root_key(0))
    keys = prng.replicate_keys(prng.root_key(1), 256)
    alone = simulation.simulate(problem, keys).value
    spec = jax.sharding.PartitionSpec("rep")

    def part(keys):
        return simulation.simulate(problem, keys).value

    spread = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))(keys)
    np.testing.assert_array_equal(alone, spread)


@pytest.mark.parametrize("num_types", [0, 2])
def test_the_philosopher_over_eight_devices(num_types):
    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    key = prng.root_key(2)
    problem = problems.typed_random(key, 6, 5, 2, stationary=True) if num_types else problems.er(key, 0.8, 13, 6)
    alone, spread = (philosopher.solve(problem, keep=True, mesh=m) for m in (None, mesh))
    np.testing.assert_allclose(spread.values, alone.values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(spread.value, alone.value, rtol=1e-6)
    assert len(spread.values.sharding.device_set) == 8
    with pytest.raises(ValueError, match=r"must be <= 27 on 8 device\(s\), got 28"):
        philosopher.solve(problems.Problem(jnp.ones((28, 2)), jnp.ones(2)), mesh=mesh)
