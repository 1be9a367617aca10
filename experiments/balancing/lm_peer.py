"""The language model and its training step in PyTorch eager, from our own weights: a peer for speed, and a check.

Sigmoid gates, sign rule, renormalised top-K, experts one after the other on their tokens, as such models are written
there. PyTorch is optional (extra `bench`); nothing else imports it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from research.balancing.model_sizes import Size

__all__ = ["installed", "loss_and_loads", "trainer"]


def installed() -> bool:
    """Whether PyTorch is."""
    return importlib.util.find_spec("torch") is not None


def _tensors(tree: Any) -> Any:
    import torch

    return jax.tree.map(lambda leaf: torch.from_numpy(np.array(leaf)), tree)


def loss_and_loads(size: Size, weights: Any, bias: np.ndarray, tokens: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean loss of sequences `[B, S + 1]` and loads `[n, E]` of the model with our weights and biases `[n, E]`."""
    import torch

    with torch.no_grad():
        inputs = torch.from_numpy(np.asarray(tokens, np.int64))
        loss, loads = _forward(size, _tensors(weights), torch.from_numpy(np.array(bias)), inputs)
    return float(loss), np.stack([load.numpy() for load in loads])


def trainer(size: Size, weights: Any, tokens: np.ndarray, *, learning_rate: float, step_size: float) -> Callable:
    """`() -> loss`: a training step on batch after batch of `tokens [steps, B, S + 1]`, on one thread.

    AdamW with our moments and decay, clipping to norm 1, then one update of the biases.
    """
    import torch

    torch.set_num_threads(1)
    model = jax.tree.map(lambda leaf: leaf.requires_grad_(), _tensors(weights))
    leaves = jax.tree.leaves(model)
    optimizer = torch.optim.AdamW(leaves, learning_rate, (0.9, 0.95), weight_decay=0.1)
    bias = torch.zeros(size.expert_layers, size.experts)
    batches = torch.from_numpy(np.asarray(tokens, np.int64))
    done = 0

    def step() -> float:
        nonlocal done
        loss, loads = _forward(size, model, bias, batches[done % len(batches)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(leaves, 1.0)
        optimizer.step()
        load = torch.stack(loads).float()
        bias.add_(step_size * torch.sign(load.mean(dim=1, keepdim=True) - load))
        done += 1
        return float(loss.detach())

    return step


def _forward(size, weights, bias, tokens):
    import torch

    x = weights["embedding"][tokens[:, :-1]]
    x = x + _attention(size, weights["first"]["attention"], _norm(x, weights["first"]["norm_attention"]))
    x = x + _swiglu(weights["first"]["dense"], _norm(x, weights["first"]["norm"]))
    loads, stacked = [], weights["layers"]["layer"]
    for number in range(size.expert_layers):
        layer = jax.tree.map(lambda leaf, number=number: leaf[number], stacked)
        x = x + _attention(size, layer["attention"], _norm(x, layer["norm_attention"]))
        mixed, load = _mixture(size, layer["mixture"], bias[number], _norm(x, layer["norm"]).reshape(-1, size.width))
        x = x + mixed.reshape(x.shape)
        loads.append(load)
    logits = _norm(x, weights["norm"]) @ weights["head"]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()), loads


def _norm(x, norm):
    import torch

    return torch.nn.functional.rms_norm(x, x.shape[-1:], norm["gain"], 1e-6)


def _swiglu(weights, x):
    import torch

    gate, up = (x @ weights["gate_up"]).chunk(2, dim=-1)
    return (torch.nn.functional.silu(gate) * up) @ weights["down"]


def _attention(size, weights, x):
    import torch

    batch, length, _ = x.shape
    heads = (x @ weights["query_key_value"]).view(batch, length, 3 * size.heads, -1).transpose(1, 2)
    query, key, value = heads.chunk(3, dim=1)
    mixed = torch.nn.functional.scaled_dot_product_attention(_rotate(query), _rotate(key), value, is_causal=True)
    return mixed.transpose(1, 2).reshape(x.shape) @ weights["out"]


def _rotate(x):
    import torch

    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[2])[:, None] * 1e4 ** (-torch.arange(half) / half)
    cos, sin = angle.cos(), angle.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _mixture(size, weights, bias, x):
    import torch

    scores = torch.sigmoid(x @ weights["router"])
    index = torch.topk(scores.detach() + bias, size.top_k, dim=-1).indices
    gate = scores.gather(1, index)
    gate = gate / gate.sum(dim=-1, keepdim=True)
    out = _swiglu(weights["shared"], x)
    for expert in range(size.experts):
        token, slot = torch.where(index == expert)
        if len(token):
            mine = x[token]
            hidden = torch.nn.functional.silu(mine @ weights["gate"][expert]) * (mine @ weights["up"][expert])
            out = out.index_add(0, token, (hidden @ weights["down"][expert]) * gate[token, slot, None])
    return out, torch.bincount(index.flatten(), minlength=size.experts)
