"""Routers by their configs inside the language model: every causal one traces, and what they learn is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import model_sizes, routers, training
from research.core import prng

pytestmark = pytest.mark.slow

#: What each name must be told. Routers that look ahead are refused by `training.Params`.
CONFIGS = {
    "softmax": {},
    "mixtral": {},
    "loss_free": {"rule": {"rule": "prop", "step_size": 0.1}},
    "deepseek_v3": {"num_groups": 4, "kept_groups": 2},
    "quantile": {},
    "grouped": {"num_groups": 2},
    "null_experts": {"num_null": 2, "top_k": 3},
    "mixture_plus": {"num_const": 1},
    "fine_grained": {"split": 2},
    "document_pools": {"pool": 4},
    "capacity_drop": {"policy": "first", "router": {"name": "loss_free"}},
    "size_weighted": {"widths": tuple(range(1, 9))},
    "gate_residual": {"router": {"name": "mixture_plus", "num_const": 2}},
    "recurrent": {"hidden_size": 8, "router": {"name": "loss_free"}},
    "chain": {"iterations": 2},
}
SIZE = model_sizes.Size(256, 16, 3, 2, 8, 2, 1, 8, 16)


def problem():
    tokens = np.random.RandomState(0).randint(0, 256, 4096).astype(np.uint8)
    ends = jnp.array([4096], jnp.int32), jnp.array([[0, 1000]], jnp.int32)
    return training.Problem(jnp.asarray(tokens[None]), *ends, jnp.asarray(tokens[:1024].reshape(2, 512)))


def params(name):
    losses = {"load_balancing": 1e-2, "router_z": 1e-3}
    router = routers.make(name, **({"num_experts": 8, "top_k": 2} | CONFIGS[name]), losses=losses, causal=True)
    return training.Params(router, SIZE, batch_size=2, length=16, num_steps=2)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_keeps_the_layout_of_the_state(name):
    def step(key):
        state = training.init(problem(), params(name), key)
        return state, *training.step(problem(), params(name), state)

    before, after, info = jax.eval_shape(step, prng.root_key(0))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), before) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )
    assert info.load.shape == (2, params(name).router.num_experts)


@pytest.mark.parametrize("name", ["gate_residual", "recurrent", "chain"])
def test_what_a_router_learns_is_trained(name):
    start = jax.jit(lambda key: training.init(problem(), params(name), key))(prng.root_key(0))
    result = jax.jit(lambda state: training.run(problem(), params(name), state=state))(start)
    assert np.isfinite(result.trace.loss).all()
    learned = [weights["layers"]["layer"]["mixture"]["learned"] for weights in (start.weights, result.weights)]
    shared = [weights["router"] for weights in (start.weights, result.weights)]
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), *zip(learned, shared, strict=True))
    assert jax.tree.leaves(moved)
    assert all(jax.tree.leaves(moved)), moved
