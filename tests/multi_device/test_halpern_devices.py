"""The Halpern family on eight devices: rows spread over them, or lanes spread over them, do what one device does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from research.core import prng
from research.halpern import finite_sums, forward_backward, lanes, page, proxes, sharded

pytestmark = pytest.mark.multi_device


@pytest.fixture(scope="module")
def rows_mesh():
    assert jax.device_count() == 8, "run as: pytest -m multi_device tests/multi_device"
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


def model(n, law="uniform"):
    rows, noise = jax.random.split(prng.root_key(0))
    features = jax.random.normal(rows, (n, 6)) / 3
    targets = features @ jnp.linspace(-2, 2, 6) + 0.1 * jax.random.normal(noise, (n,))
    return finite_sums.least_squares(features, targets, law=law, regulariser=proxes.Box(-1.0, 1.0))


@pytest.mark.parametrize("n", [400, 397])  # the second fills up the last stratum
@pytest.mark.parametrize("method", [page, forward_backward])
def test_rows_over_eight_devices_do_what_one_device_does(rows_mesh, n, method):
    fields = {"batch": 24} if method is page else {}
    params = method.Params(num_steps=4, stride=16, **fields)
    results = []
    for mesh in (None, rows_mesh):
        inclusion = sharded.shard(model(n), mesh, num_strata=8)
        problem = page.Problem(inclusion, jnp.zeros(6))
        results.append(jax.jit(method.run)(problem, params, prng.root_key(1)))
    alone, spread = results
    np.testing.assert_array_equal(alone.trace.calls.low, spread.trace.calls.low)
    np.testing.assert_allclose(alone.u, spread.u, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone.trace.residual, spread.trace.residual, rtol=1e-5, atol=1e-6)
    assert float(alone.trace.residual[-1]) < float(alone.state.ledger.first)


def test_rows_beyond_the_cache_are_summed_in_blocks_on_each_device(rows_mesh):
    n = 8 * 48_000  # more than a MiB of rows on a device
    features = jax.random.normal(prng.root_key(0), (n, 6))
    whole = finite_sums.least_squares(features, features.sum(axis=1), law="uniform")
    u = jnp.linspace(-1, 1, 6)
    spread = sharded.shard(whole, rows_mesh)
    # A mean of 384,000 terms in float32 loses half their number's square root of roundings at worst.
    size = float(jnp.abs(whole.features).mean())
    np.testing.assert_allclose(jax.jit(lambda u: spread.full(u))(u), whole.full(u), rtol=0, atol=1e-4 * size)


def test_each_device_holds_its_rows_and_sums_once(rows_mesh):
    inclusion = sharded.shard(model(400), rows_mesh)
    assert {shard.data.shape for shard in inclusion.model.features.addressable_shards} == {(50, 6)}
    draws = inclusion.sample(prng.root_key(2), (16,))
    for ask in (lambda u: inclusion.full(u), lambda u: inclusion.difference(draws, u, 2 * u)):
        text = jax.jit(ask).lower(jnp.ones(6)).compile().as_text()
        assert text.count(" all-reduce(") + text.count(" all-reduce-start(") == 1
        assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))


def test_a_mesh_without_the_axis_is_refused(mesh):
    with pytest.raises(ValueError, match="mesh must have an axis 'data'"):
        sharded.shard(model(16), mesh)


@pytest.mark.parametrize("spread_steps", [False, True])
def test_lanes_over_eight_devices_do_what_one_device_does(mesh, spread_steps):
    problem = page.Problem(model(64, "importance"), jnp.zeros(6))
    params, axes = page.Params(num_steps=4, stride=16), None
    if spread_steps:
        sizes = jnp.linspace(0.1, 0.5, 8) / problem.inclusion.lipschitz
        params = page.Params(num_steps=4, stride=16, step_size=sizes)
        axes = lanes.axes(params, "step_size")
    alone, spread = (
        lanes.run(page, problem, params, prng.root_key(1), 8, params_axes=axes, mesh=m) for m in (None, mesh)
    )
    np.testing.assert_array_equal(alone.trace.calls.low, spread.trace.calls.low)
    np.testing.assert_array_equal(alone.status, spread.status)
    np.testing.assert_allclose(alone.u, spread.u, rtol=0, atol=1e-6)
    assert len(spread.u.sharding.device_set) == 8
