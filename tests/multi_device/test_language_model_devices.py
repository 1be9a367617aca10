"""The training step over data x model: the loads, the biases to the bit, and weights to rounding, of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from research.balancing import balance_losses, model_sizes, training
from research.balancing.bias_update import Rule
from research.balancing.loss_free import LossFree
from research.core import prng

pytestmark = pytest.mark.multi_device

SIZE = model_sizes.Size(32, 16, 3, 2, 4, 2, 1, 8, 16)


def make_mesh(data, model):
    return jax.make_mesh((1, data, model), ("rep", "data", "model"), axis_types=(AxisType.Auto,) * 3)


@pytest.fixture(scope="module")
def made():
    """A problem in eight stripes, a loss-free router with an auxiliary loss as well, and the first state."""
    router = balance_losses.WithLosses(LossFree(4, 2, Rule(step_size=0.01)), {"load_balancing": 0.5})
    optimizer = training.Optimizer(warmup=2.0, total=8.0)
    params = training.Params(router, SIZE, optimizer, batch_size=16, length=8, num_steps=3)
    text = jnp.asarray(np.random.default_rng(0).integers(0, 32, (8, 256)), jnp.uint8)
    problem = training.Problem(text, jnp.full(8, 256, jnp.int32), jnp.zeros((8, 1), jnp.int32), text[:2])
    return problem, params, jax.jit(functools.partial(training.init, problem))(params, prng.root_key(0))


def trained(made, mesh):
    def run(problem, params, state):
        result = training.run(problem, params, state=state, mesh=mesh)
        return result, training.evaluate(problem, params, result.state, 16, mesh=mesh)

    return jax.jit(run)(*made)


@pytest.fixture(scope="module")
def alone(made):
    return trained(made, None)


@pytest.mark.parametrize(("data", "model"), [(4, 2), (2, 4)])
def test_split_over_devices(made, alone, data, model):
    (one, on_one), (many, on_many) = alone, trained(made, make_mesh(data, model))
    np.testing.assert_array_equal(many.trace.load, one.trace.load)
    np.testing.assert_array_equal(many.state.router.bias, one.state.router.bias)
    np.testing.assert_array_equal(many.state.router.updates, [3, 3])
    assert np.abs(one.state.router.bias).max() > 0
    # Sums over eight devices in another order: some units in the last place of float32, through three steps of Adam.
    for name in ("loss", "router_loss", "gradient_norm"):
        np.testing.assert_allclose(getattr(many.trace, name), getattr(one.trace, name), rtol=2e-5, err_msg=name)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5), many.weights, one.weights)
    np.testing.assert_array_equal(on_many.load, on_one.load)
    np.testing.assert_allclose(on_many.loss, on_one.loss, rtol=2e-5)


def test_meshes_that_do_not_fit_are_refused(made):
    problem, params, state = made
    with pytest.raises(ValueError, match=r"mesh must have an axis model that divides 4 experts, got 8\."):
        jax.eval_shape(functools.partial(training.step, mesh=make_mesh(1, 8)), problem, params, state)
    short = training.Problem(problem.tokens[:4], problem.used[:4], problem.starts[:4], problem.validation)
    with pytest.raises(ValueError, match=r"mesh must have devices that divide 4 stripes or sequences, got 8\."):
        jax.eval_shape(functools.partial(training.step, mesh=make_mesh(4, 2)), short, params, state)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    with pytest.raises(ValueError, match=r"mesh must have the axes data, model, got \('data',\)\."):
        jax.eval_shape(functools.partial(training.step, mesh=mesh), problem, params, state)
