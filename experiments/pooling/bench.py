"""Pooling over windows against PyTorch in its fastest layout and flax, on one core; sets are in `bench_segments`.

Maps `[32, 56, 56, 64]` in float32, channels last for all. Each workload once forwards and once with the gradient for
the maps, from a given cotangent. SoftPool's peer is what its PyTorch users write, two average pools of exp(x) x and
exp(x), which overflow where ours does not; GeM's is `lp_pool2d` of relu(x), norm 3, and L^p's the same of x, norm 2.
Traffic is the least there is: forwards x is read and y written, with the gradient x is read twice, the cotangent once,
dx written. Page faults are left out for all: memory is reused between calls (`experiments.bench`).
"""

import functools
import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.pooling import bench_segments
from pallas_kernels._bench import Case, Work
from research.pooling.windows import window_pool

SHAPE = (32, 56, 56, 64)
WINDOWS = ((2, 2), (3, 2), (3, 1))  # length, stride
KINDS = ("max", "avg", "soft", "gem", "lp")
#: flax's gradient of a maximum takes up to half a second a call.
SLOW_REPEATS = 5


def cases(tables, quick):
    """All kinds, windows and directions; two maps in the quick form. Then sets."""
    shape = (2, *SHAPE[1:]) if quick else SHAPE
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    for length, stride in WINDOWS:
        out = (shape[1] - length) // stride + 1
        ct = rng.standard_normal((shape[0], out, out, shape[3])).astype(np.float32)
        for kind in KINDS:
            yield _case(kind, length, stride, x, ct, backwards=False)
            yield _case(kind, length, stride, x, ct, backwards=True)
    yield from bench_segments.cases(tables, quick)


def _case(kind, length, stride, x, ct, backwards):
    traffic = 4 * (3 * x.size + 2 * ct.size if backwards else x.size + ct.size)
    work = functools.partial(Work, items=len(x), traffic=traffic)
    ours = {"gem": lambda x: window_pool(x, "power", length, stride, params={"p": 3.0}),
            "lp": lambda x: window_pool(x, "lp", length, stride, params={"p": 2.0})}  # fmt: skip
    ours = ours.get(kind, lambda x: window_pool(x, kind, length, stride))
    works = {"jax": work(_by_jax(ours, x, ct, backwards))}
    if kind in ("max", "avg"):
        pool = nn.max_pool if kind == "max" else nn.avg_pool
        call = _by_jax(lambda x: pool(x, (length, length), (stride, stride)), x, ct, backwards)
        works["flax"] = work(call, repeats=SLOW_REPEATS if backwards else None)
    if importlib.util.find_spec("torch") is not None:
        works["torch channels_last"] = work(_by_torch(kind, length, stride, x, ct, backwards))
    direction = "gradient" if backwards else "forward"
    name = f"windows_{kind}_{length}x{length}_by_{stride}_{direction}"
    return Case(name, "maps", x.shape, works, "value and gradient" if backwards else "value")


def _by_jax(pool, x, ct, backwards):
    def both(x, ct):
        y, back = jax.vjp(pool, x)
        return y, back(ct)[0]

    run = jax.jit(both if backwards else lambda x, ct: pool(x))
    x, ct = jnp.asarray(x), jnp.asarray(ct)
    return lambda: jax.block_until_ready(run(x, ct))


def _by_torch(kind, length, stride, x, ct, backwards):
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    x, ct = (torch.from_numpy(a).permute(0, 3, 1, 2) for a in (x, ct))  # strides of channels_last, no copy
    x = x.detach().requires_grad_(backwards)
    pools = {
        "max": functional.max_pool2d,
        "avg": functional.avg_pool2d,
        "soft": _torch_soft,
        "gem": lambda x, k, s: functional.lp_pool2d(functional.relu(x), 3.0, k, s),
        "lp": lambda x, k, s: functional.lp_pool2d(x, 2.0, k, s),
    }

    def call():
        x.grad = None
        y = pools[kind](x, length, stride)
        if backwards:
            y.backward(ct)
        return y.detach()

    return call


def _torch_soft(x, length, stride):
    import torch
    from torch.nn import functional

    weights = torch.exp(x)
    return functional.avg_pool2d(weights * x, length, stride) / functional.avg_pool2d(weights, length, stride)
