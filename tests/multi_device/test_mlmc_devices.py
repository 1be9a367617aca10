"""READ on 1, 2 and 4 devices: the same blocks, the same state, the same final number, to the bit."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from research.core import prng
from research.mlmc import read, sharded, walks

pytestmark = pytest.mark.multi_device


@pytest.mark.parametrize(("name", "r", "b"), [("A3", (0.6,), (0,)), ("E1", (0.65, 0.58), (1, 0))])
def test_devices_change_no_bit(name, r, b):
    problem, params = walks.walk(name), read.Params(r=r, b=b, block=256, num_steps=8)
    alone = jax.jit(functools.partial(read.run, problem, params))(prng.root_key(0))
    for devices in (1, 2, 4):
        mesh = jax.make_mesh((devices,), ("rep",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        spread = jax.jit(functools.partial(sharded.run, problem, params, mesh=mesh))(prng.root_key(0))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(alone), jax.device_get(spread))
        assert read.estimate(alone.trace) == read.estimate(spread.trace)
    with pytest.raises(ValueError, match="num_steps must be a multiple of 8 devices"):
        sharded.run(
            problem, read.Params(r=r, num_steps=4), prng.root_key(0),
            mesh=jax.make_mesh((8,), ("rep",), axis_types=(AxisType.Auto,)),
        )  # fmt: skip
