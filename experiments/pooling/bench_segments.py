"""Pooling of sets in segments against `jax.ops.segment_*` and PyTorch's `index_add` and `scatter_reduce`, on one core.

131,072 rows of 64 channels in 2,048 sets of random sizes, ids in order: sum, mean, max and softmax, forward, and
forward with the gradient of a weighted sum. Peers do what their users write: `jax.ops` has the softmax of its own
segment operations and the gradients of JAX; PyTorch the same with `index_add` and `scatter_reduce`. `dense` is the same
sets padded to the largest with a mask, for `set_pool` and for `jnp.where` with a reduction.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from research.pooling.sets import set_pool

__all__ = ["cases"]

ROWS, CHANNELS, SETS = 131_072, 64, 2_048
KINDS = ("sum", "mean", "max", "softmax")


def cases(tables, quick):
    """Every kind, forward and with its gradient, flat; then dense."""
    del tables
    rows, sets = (ROWS // 8, SETS // 8) if quick else (ROWS, SETS)
    x, ids, mask, padded = _draw(rows, sets)
    weights = np.random.default_rng(1).normal(size=(sets, CHANNELS)).astype(np.float32)
    for kind in KINDS:
        flat = {"jax": _ours(kind, ids, sets), "jax.ops": _segment_ops(kind, ids, sets)}
        torch = _torch(kind, x, ids, weights) if importlib.util.find_spec("torch") else None
        dense = {"jax": _masked(kind, mask), "where": _where(kind, mask)}
        for at, direction in enumerate(("forward", "gradient")):
            works = {name: _work(pool, x, weights, direction) for name, pool in flat.items()}
            if torch:
                works["torch"] = Work(torch[at], x.size)
            yield Case(f"segments_{kind}_{direction}", "numbers", (rows, CHANNELS, sets), works, "ids in order")
            works = {name: _work(pool, padded, weights, direction, x.size) for name, pool in dense.items()}
            yield Case(f"masked_{kind}_{direction}", "numbers", padded.shape, works, "padded to the largest set")


def _draw(rows, sets):
    """Rows, their sets in order, and the same padded; no set is empty."""
    rng = np.random.default_rng(0)
    ids = np.sort(np.concatenate([np.arange(sets), rng.integers(0, sets, size=rows - sets)])).astype(np.int32)
    x = rng.normal(size=(rows, CHANNELS)).astype(np.float32)
    sizes = np.bincount(ids)
    mask = np.arange(sizes.max())[None] < sizes[:, None]
    padded = np.zeros((*mask.shape, CHANNELS), np.float32)
    padded[mask] = x
    return x, ids, mask, padded


def _work(pool, x, weights, direction, items=None):
    """One pass, or the value with its gradient; each reads x once more than it must for every further reduction."""
    x, weights = jnp.asarray(x), jnp.asarray(weights)

    def both(x):
        pooled, back = jax.vjp(pool, x)
        return pooled, back(weights)[0]

    compiled = jax.jit(pool if direction == "forward" else both)
    traffic = 4 * x.size * (1 if direction == "forward" else 3)
    return Work(lambda: jax.block_until_ready(compiled(x)), items or x.size, traffic=traffic)


def _ours(kind, ids, sets):
    ids = jnp.asarray(ids)
    return lambda x: set_pool(x, kind, segment_ids=ids, num_segments=sets, sorted=True)


def _masked(kind, mask):
    mask = jnp.asarray(mask)
    return lambda x: set_pool(x, kind, mask=mask)


def _segment_ops(kind, ids, sets):
    ids = jnp.asarray(ids)
    options = {"num_segments": sets, "indices_are_sorted": True}

    def total(x):
        return jax.ops.segment_sum(x, ids, **options)

    def softmax(x):
        weight = jnp.exp(x - jax.lax.stop_gradient(jax.ops.segment_max(x, ids, **options))[ids])
        return total(weight * x) / total(weight)

    def mean(x):
        return total(x) / jnp.maximum(total(jnp.ones_like(x[:, :1])), 1)

    return {"sum": total, "mean": mean, "max": lambda x: jax.ops.segment_max(x, ids, **options), "softmax": softmax}[
        kind
    ]


def _where(kind, mask):
    mask = jnp.asarray(mask)[..., None]

    def softmax(x):
        weight = jax.nn.softmax(jnp.where(mask, x, -jnp.inf), axis=1)
        return (weight * x).sum(axis=1)

    return {
        "sum": lambda x: jnp.where(mask, x, 0).sum(axis=1),
        "mean": lambda x: jnp.where(mask, x, 0).sum(axis=1) / mask.sum(axis=1),
        "max": lambda x: jnp.where(mask, x, -jnp.inf).max(axis=1),
        "softmax": softmax,
    }[kind]


def _torch(kind, x, ids, weights):
    """Calls (forward, with gradient), on one thread."""
    import torch

    torch.set_num_threads(1)
    index, rows, weight = torch.from_numpy(ids).long(), torch.from_numpy(x.copy()), torch.from_numpy(weights.copy())
    sets, wide = len(weights), index[:, None].expand(-1, x.shape[1])

    def total(rows):
        return torch.zeros(sets, rows.shape[1]).index_add(0, index, rows)

    def largest(rows):
        return torch.full((sets, rows.shape[1]), -torch.inf).scatter_reduce(0, wide, rows, "amax")

    def softmax(rows):
        share = torch.exp(rows - largest(rows.detach())[index])
        return total(share * rows) / total(share)

    def mean(rows):
        return total(rows) / total(torch.ones(len(rows), 1)).clamp(min=1)

    pool = {"sum": total, "mean": mean, "max": largest, "softmax": softmax}[kind]

    def forward():
        with torch.no_grad():
            return pool(rows)

    def gradient():
        leaf = rows.detach().requires_grad_()
        pool(leaf).backward(weight)
        return leaf.grad

    return forward, gradient
