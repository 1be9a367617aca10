"""Experts over eight devices: loads and biases are those of one to the bit, outputs and gradients to rounding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from pallas_kernels.topk_route import topk_route
from research.balancing import expert_parallel
from research.balancing.bias_update import Rule
from research.balancing.loss_free import LossFree

pytestmark = pytest.mark.multi_device

TOKENS, WIDTH, HIDDEN, EXPERTS, TOP_K = 256, 16, 8, 8, 2
#: Logits and biases are multiples of 2^-5, so that no order of sums can change a choice.
ROUTER = LossFree(EXPERTS, TOP_K, Rule(step_size=2.0**-5), gate="softmax", bias_space="logit")


def mesh_of(data, model):
    devices = jax.devices()[: data * model]
    return jax.make_mesh((data, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def instance():
    """Tokens that prefer some experts, so that the exchange needs more than one round."""
    rng = np.random.default_rng(0)
    x = np.round(4 * rng.normal(size=(TOKENS, WIDTH))) / 4
    x[:, 0] = 1
    matrix = np.round(2 * rng.normal(size=(WIDTH, EXPERTS))) / 8
    matrix[0] = np.round(8 * np.linspace(2, -2, EXPERTS)) / 8
    shapes = {"gate": (EXPERTS, WIDTH, HIDDEN), "up": (EXPERTS, WIDTH, HIDDEN), "down": (EXPERTS, HIDDEN, WIDTH)}
    params = {name: jnp.asarray(rng.normal(size=shape) / 3, jnp.float32) for name, shape in shapes.items()}
    return jnp.asarray(x, jnp.float32), jnp.asarray(matrix, jnp.float32), params


def train(mesh, **options):
    """Outputs, loads and biases of eight steps, and gradients of a sum of the first outputs."""
    x, matrix, params = instance()
    step = functools.partial(expert_parallel.layer_step, ROUTER, mesh=mesh, **options)

    @jax.jit
    def run(x, matrix, params):
        def one(state, _):
            out, load, state = step(state, x, matrix, params)
            return state, (out, load, state.bias)

        gradients = jax.grad(lambda *args: jnp.sum(jnp.sin(step(ROUTER.init(), *args)[0])), (0, 1, 2))
        return *jax.lax.scan(one, ROUTER.init(), length=8)[1], gradients(x, matrix, params)

    return run(x, matrix, params)


@pytest.fixture(scope="module")
def alone():
    return train(None)


@pytest.mark.parametrize(
    ("data", "model", "options"),
    [(2, 4, {}), (1, 8, {"capacity_factor": 0.5})],
    ids=["2x4", "1x8, small messages"],
)
def test_loads_and_biases_to_the_bit_outputs_and_gradients_to_rounding(mesh, alone, data, model, options):
    out, load, bias, gradients = train(mesh_of(data, model), **options)
    np.testing.assert_array_equal(load, alone[1])
    np.testing.assert_array_equal(bias, alone[2])
    np.testing.assert_allclose(out, alone[0], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(alone[3]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.max(np.abs(theirs)))


def test_the_first_exchange_needs_several_rounds():
    """Otherwise the test above would say nothing of what follows the first."""
    x, matrix, _ = instance()
    index = ROUTER.route(ROUTER.init(), x @ matrix).index
    sizes = expert_parallel.plan(TOKENS // 8, TOP_K, EXPERTS // 4, 4)
    to = np.asarray(index).reshape(8, -1) // (EXPERTS // 4)
    assert max(np.bincount(row, minlength=4).max() for row in to) > sizes.capacity
    assert sizes.rounds > 1


def test_tokens_and_experts_must_divide(mesh):
    x, matrix, params = instance()
    with pytest.raises(ValueError, match="x must have a leading axis that is a multiple of 8, got 252"):
        expert_parallel.layer_step(ROUTER, ROUTER.init(), x[:252], matrix, params, mesh=mesh_of(2, 4))
    with pytest.raises(ValueError, match="mesh must have the axes data, model"):
        expert_parallel.layer_step(ROUTER, ROUTER.init(), x, matrix, params, mesh=mesh)


def test_the_k_largest_of_sharded_rows(mesh):
    """Rows over eight devices, more on each than one block of the CPU's path."""
    rng = np.random.default_rng(1)
    scores = jnp.asarray(rng.normal(size=(8 * 300, 64)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=64), jnp.float32)

    def part(scores, bias):
        found = topk_route(scores, bias, 8, threshold=True)
        return found.index, found.score, jax.lax.psum(found.load, "rep"), found.threshold

    specs = P("rep"), P("rep"), P(), P("rep")
    spread = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=(P("rep"), P()), out_specs=specs, check_vma=False))
    placed = jax.device_put(scores, NamedSharding(mesh, P("rep")))
    for got, expected in zip(spread(placed, bias), topk_route(scores, bias, 8, threshold=True), strict=True):
        np.testing.assert_array_equal(got, expected)
