"""Tokens per second of training a language model on one core, against the same model in PyTorch eager.

`lm_tiny`: 8 sequences of 128 bytes a step, sigmoid gates, sign rule, forward, backward, AdamW and bias update, float32.
Both sides begin with the same weights and take the same kind of batches. `flops` counts the products of the model,
forward and twice that backward, and neither padding of experts nor anything elementwise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.balancing import lm_peer
from pallas_kernels._bench import Case, Work
from research.balancing import model_sizes, training
from research.balancing.bias_update import Rule
from research.balancing.loss_free import LossFree
from research.core import prng

__all__ = ["cases", "step_flops"]

_BATCH, _LENGTH, _STEP_SIZE = 8, 128, 0.01


def cases(tables, quick=False):
    """Yields the case; `tables` is not used."""
    del tables
    yield _case("tiny", 1 if quick else 4)


def step_flops(size: model_sizes.Size, sequences: int, length: int) -> float:
    """Of the matrix products of one training step; attention is counted in full, as both sides compute it."""
    width, tokens = size.width, sequences * length
    feed_forward = 3 * width * (size.dense_width + size.expert_layers * (size.top_k + size.shared) * size.expert_width)
    others = size.layers * 4 * width**2 + size.expert_layers * width * size.experts + size.vocabulary * width
    return 3 * 2.0 * tokens * (feed_forward + others + size.layers * 2 * length * width)


def _case(name, steps):
    size = model_sizes.size(name)
    text = np.random.default_rng(0).integers(0, size.vocabulary, (1, 1 << 16)).astype(np.uint8)
    problem = training.Problem(
        jnp.asarray(text), jnp.asarray([text.shape[1]], jnp.int32), jnp.zeros((1, 1), jnp.int32), jnp.asarray(text)
    )
    router = LossFree(size.experts, size.top_k, Rule(step_size=_STEP_SIZE))
    params = training.Params(router, size, batch_size=_BATCH, length=_LENGTH, num_steps=steps)
    state = jax.jit(functools.partial(training.init, problem, params))(prng.root_key(0))
    run = jax.jit(lambda state: training.run(problem, params, state=state))
    tokens, flops = steps * _BATCH * _LENGTH, steps * step_flops(size, _BATCH, _LENGTH)
    works = {"jax": Work(lambda: jax.block_until_ready(run(state)), tokens, flops, flops)}
    if lm_peer.installed():
        offsets = np.random.default_rng(1).integers(0, text.shape[1] - _LENGTH - 1, (steps, _BATCH))
        batches = text[0][offsets[..., None] + np.arange(_LENGTH + 1)]
        step = lm_peer.trainer(size, state.weights, batches, learning_rate=1e-3, step_size=_STEP_SIZE)
        works["torch eager"] = Work(lambda: [step() for _ in range(steps)], tokens, flops, flops)
    return Case(f"lm_{name}", "tokens", (_BATCH, _LENGTH), works, f"{steps} training steps")
