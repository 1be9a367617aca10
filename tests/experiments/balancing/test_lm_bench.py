"""The peer in PyTorch is the same model: losses, loads and a step of training from our weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.balancing import lm_bench, lm_peer
from research.balancing import model_sizes, training
from research.balancing.bias_update import Rule
from research.balancing.loss_free import LossFree
from research.core import prng

SIZE = model_sizes.Size(32, 16, 3, 2, 4, 2, 1, 8, 24)


def test_flops_are_those_of_the_products():
    """By hand for one token: 6 times the weights that it meets, and attention over 4 tokens."""
    met = 3 * 16 * (24 + 2 * 3 * 8) + 3 * 4 * 16**2 + 2 * 16 * 4 + 32 * 16
    assert lm_bench.step_flops(SIZE, 1, 4) == 4 * (6 * met + 3 * 3 * 4 * 4 * 16)


@pytest.mark.skipif(not lm_peer.installed(), reason="PyTorch is not installed")
def test_the_peer_computes_the_same_model():
    text = np.random.default_rng(0).integers(0, 32, (1, 64)).astype(np.uint8)
    problem = training.Problem(
        jnp.asarray(text), jnp.asarray([9], jnp.int32), jnp.zeros((1, 1), jnp.int32), jnp.asarray(text)
    )
    router = LossFree(4, 2, Rule(step_size=0.01))
    params = training.Params(router, SIZE, training.Optimizer(warmup=1.0), batch_size=2, length=8, num_steps=1)
    state = jax.jit(functools.partial(training.init, problem))(params, prng.root_key(0))
    after, info = jax.jit(training.step)(problem, params, state)  # nine tokens exist: every window is the same
    window = np.broadcast_to(text[0, :9], (1, 2, 9))
    loss, load = lm_peer.loss_and_loads(SIZE, state.weights, state.router.bias, window[0])
    assert loss == pytest.approx(float(info.loss), rel=1e-5)
    np.testing.assert_array_equal(load, info.load)
    step = lm_peer.trainer(SIZE, state.weights, np.repeat(window, 2, 0), learning_rate=3e-3, step_size=0.01)
    first, second = step(), step()
    assert first == pytest.approx(loss, rel=1e-6)
    later, _ = lm_peer.loss_and_loads(SIZE, after.weights, after.router.bias, window[0])
    assert second == pytest.approx(later, rel=2e-3)  # we do not decay gains of norms
    assert second < first
