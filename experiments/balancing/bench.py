"""Tokens per second of a routing step on one core, against NumPy and PyTorch; and of training, by `lm_bench`.

A step takes logits to sigmoid scores, the 8 experts with the largest biased scores of each token, gates that sum to
one, loads, and the sign rule's next bias, in float32. The choice of experts alone: `--only=topk_route`.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from experiments.balancing import lm_bench
from pallas_kernels._bench import Case, Work
from pallas_kernels.topk_route.bench import numpy_route, torch_route
from research.balancing.bias_update import Rule
from research.balancing.loss_free import LossFree

__all__ = ["cases"]

_TOP_K, _STEP_SIZE = 8, 1e-3
_SHAPES = (16384, 64), (16384, 256)


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    for tokens, num_experts in _SHAPES[:1] if quick else _SHAPES:
        yield _case(tokens // 8 if quick else tokens, num_experts)
    yield from lm_bench.cases(tables, quick)


def _case(tokens, num_experts):
    logits = np.random.default_rng(0).standard_normal((tokens, num_experts)).astype(np.float32)
    bias = np.zeros(num_experts, np.float32)
    router = LossFree(num_experts, _TOP_K, Rule(step_size=_STEP_SIZE))

    @jax.jit
    def step(state, logits):
        routing = router.route(state, logits)
        return routing.index, routing.gate, router.update(state, routing.load)

    args = router.init(), jnp.asarray(logits)
    calls = {"numpy": functools.partial(_numpy, logits, bias), "jax": functools.partial(step, *args)}
    if importlib.util.find_spec("torch") is not None:
        calls["torch eager"] = _by_torch(logits, bias)
    works = {name: Work(call, tokens, traffic=4.0 * tokens * num_experts) for name, call in calls.items()}
    return Case("routing_step", "tokens", (tokens, num_experts), works, f"sigmoid, k = {_TOP_K}, sign rule")


def _updated(bias, load, sign):
    return bias + _STEP_SIZE * sign(load.sum() - len(load) * load)  # E (L - A), in integers


def _numpy(logits, bias):
    scores = 1 / (1 + np.exp(-logits))
    index, gate, load = numpy_route(scores, bias, _TOP_K)
    return index, gate / gate.sum(axis=1, keepdims=True), _updated(bias, load, np.sign)


def _by_torch(logits, bias):
    import torch

    torch.set_num_threads(1)
    logits, bias = torch.from_numpy(logits), torch.from_numpy(bias)

    def step():
        index, gate, load = torch_route(torch, torch.sigmoid(logits), bias, _TOP_K)
        return index, gate / gate.sum(axis=1, keepdims=True), _updated(bias.numpy(), load, np.sign)

    return step
