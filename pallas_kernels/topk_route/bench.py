"""Tokens per second of routing on a CPU: by XLA as chosen here, by `lax.top_k`, by NumPy's and by PyTorch's selection.

Each does all of a step: experts, loads, and scores without bias of the chosen. The limit is the memory's: a score is
read once. Of NumPy's and PyTorch's the first k are in no order, or come sorted; what a caller needs is the set.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.topk_route import xla
from pallas_kernels.topk_route.api import topk_route

__all__ = ["cases", "numpy_route", "torch_route"]

_K = 8
_SHAPES = (8192, 64), (16384, 64), (65536, 64), (8192, 256), (65536, 256)


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    for tokens, num_experts in _SHAPES[:1] if quick else _SHAPES:
        rng = np.random.default_rng(0)
        scores = (1 / (1 + np.exp(-rng.standard_normal((tokens, num_experts))))).astype(np.float32)
        bias = (0.01 * rng.standard_normal(num_experts)).astype(np.float32)
        args, valid = (jnp.asarray(scores), jnp.asarray(bias)), jnp.ones(tokens, bool)
        ours = jax.jit(lambda s, b: topk_route(s, b, _K)[:3])
        sorts = jax.jit(lambda s, b, v: xla.topk_route(s, b, v, k=_K, threshold=False)[:3])
        calls = {
            "numpy argpartition": functools.partial(numpy_route, scores, bias, _K),
            "lax.top_k": functools.partial(sorts, *args, valid),
            "xla": functools.partial(ours, *args),
        }
        if importlib.util.find_spec("torch") is not None:
            calls["torch.topk"] = _by_torch(scores, bias)
        works = {name: Work(call, tokens, traffic=4.0 * tokens * num_experts) for name, call in calls.items()}
        yield Case("topk_route", "tokens", (tokens, num_experts), works, f"k = {_K}")


def numpy_route(scores, bias, k):
    """Experts in no order, their scores, and loads."""
    num_experts = scores.shape[1]
    index = np.argpartition(scores + bias, num_experts - k, axis=1)[:, -k:]
    return index, np.take_along_axis(scores, index, axis=1), np.bincount(index.ravel(), minlength=num_experts)


def _by_torch(scores, bias):
    import torch

    torch.set_num_threads(1)
    return functools.partial(torch_route, torch, torch.from_numpy(scores), torch.from_numpy(bias), _K)


def torch_route(torch, scores, bias, k):
    """Experts sorted by biased score, their scores, and loads; on `torch` tensors."""
    with torch.inference_mode():
        index = torch.topk(scores + bias, k, dim=1).indices
        load = torch.bincount(index.flatten(), minlength=scores.shape[1])
        return index.numpy(), torch.gather(scores, 1, index).numpy(), load.numpy()
