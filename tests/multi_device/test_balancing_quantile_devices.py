"""The quantile dual with tokens split over eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from research.balancing import quantile

pytestmark = pytest.mark.multi_device


@pytest.fixture(scope="module")
def token_mesh():
    assert jax.device_count() == 8, "run as: pytest -m multi_device tests/multi_device"
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


@pytest.mark.parametrize("padding", [0, 40])
def test_split_tokens_give_the_biases_of_one_device_to_the_bit(token_mesh, padding):
    scores = jax.random.normal(jax.random.key(0), (512, 16)) + jnp.linspace(-1, 1, 16)[None]
    problem = quantile.Problem(scores, 3, jnp.arange(512) < 512 - padding if padding else None)
    params = quantile.Params(8)
    alone = jax.jit(quantile.run)(problem, params)
    split = jax.device_put(problem, NamedSharding(token_mesh, P("data")))
    spread = jax.jit(lambda problem: quantile.run_sharded(problem, params, mesh=token_mesh))(split)
    np.testing.assert_array_equal(spread.trace.bias, alone.trace.bias)
    np.testing.assert_array_equal(spread.trace.load, alone.trace.load)
    np.testing.assert_allclose(spread.trace.dual, alone.trace.dual, rtol=1e-6)
    deviation = np.abs(np.asarray(spread.last.load) - 3 * (512 - padding) / 16).max()
    assert deviation < 3 < np.abs(np.asarray(spread.trace.load[0]) - 3 * (512 - padding) / 16).max()


def test_only_counts_travel(token_mesh):
    problem = quantile.Problem(jnp.ones((512, 16)), 3)
    run = jax.jit(lambda problem: quantile.run_sharded(problem, quantile.Params(4), mesh=token_mesh))
    text = run.lower(jax.device_put(problem, NamedSharding(token_mesh, P("data")))).compile().as_text()
    assert " all-reduce" in text
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))


def test_what_cannot_be_split_is_refused(mesh, token_mesh):
    problem = quantile.Problem(jnp.ones((12, 4)), 1)
    with pytest.raises(ValueError, match="mesh must have an axis 'data'"):
        quantile.run_sharded(problem, quantile.Params(2), mesh=mesh)
    with pytest.raises(ValueError, match=r"scores must have T divisible by the 8 devices, got 12\."):
        quantile.run_sharded(problem, quantile.Params(2), mesh=token_mesh)
    with pytest.raises(ValueError, match=r"Params.method must be one of 'bisect', got 'sort'\."):
        quantile.Params(2, method="sort", axis="data")
