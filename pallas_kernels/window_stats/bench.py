"""Elements per second of a value and its gradient on a CPU: the rules by XLA, and what users write by hand.

By hand: two average pools of exp(x) and x exp(x) without subtraction of the maximum for SoftPool, `reduce_window` for
the maximum. The limit is the memory's: x is read twice and its gradient written.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.window_stats.api import window_stats

__all__ = ["cases"]

_SHAPE = 32, 56, 56, 64
_WINDOWS = {"2x2/2": (2, 2, 0), "3x3/2": (3, 2, 1), "3x3/1": (3, 1, 1)}


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    shape = (2, 28, 28, 64) if quick else _SHAPE
    x = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    for name, (window, stride, pad) in list(_WINDOWS.items())[: 1 if quick else 3]:
        for kind, by_hand in (("soft", _two_averages), ("max", _largest)):
            ours = functools.partial(_pooled, kind=kind, window=window, stride=stride, pad=pad)
            peer = functools.partial(by_hand, window=window, stride=stride, pad=pad)
            works = {
                "by hand": Work(functools.partial(_both(peer), x), x.size, traffic=12.0 * x.size),
                "xla": Work(functools.partial(_both(ours), x), x.size, traffic=12.0 * x.size),
            }
            yield Case(f"window_stats {kind} {name}", "elements", shape, works, "value and gradient")


def _both(function):
    return jax.jit(jax.value_and_grad(lambda x: jnp.sum(function(x))))


def _pooled(x, *, kind, window, stride, pad):
    theta = jnp.ones(x.shape[-1]) if kind == "soft" else None
    return window_stats(x, theta, kind=kind, window=(window,) * 2, strides=(stride,) * 2, padding=((pad, pad),) * 2)


def _two_averages(x, *, window, stride, pad):
    weights = jnp.exp(x)
    options = {"window": window, "stride": stride, "pad": pad}
    return _reduced(x * weights, 0.0, jax.lax.add, **options) / _reduced(weights, 0.0, jax.lax.add, **options)


def _largest(x, **options):
    return _reduced(x, -jnp.inf, jax.lax.max, **options)


def _reduced(x, start, operation, *, window, stride, pad):
    pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    return jax.lax.reduce_window(x, start, operation, (1, window, window, 1), (1, stride, stride, 1), pads)
