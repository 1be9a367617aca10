"""Leaves per second on a CPU, by XLA, beside NumPy with the same words and SciPy's normal quantile, and the generator.

The limit of a leaf is the encryption of its counter, 112 integer operations; the generator alone, one fused pass that
adds up words, is that limit measured in the same run. A leaf is a walk's with one normal.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from pallas_kernels import _threefry
from pallas_kernels._bench import Case, Work
from pallas_kernels.nested_leaf.api import nested_leaf

__all__ = ["cases"]

_TAG, _WIDTH, _ALONE = 0x30000000, 1024, 64
_FLOPS = 112 + 36  # of a leaf: the block, and normal, leaf and sum


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    tiles = 8 if quick else 64
    rng = np.random.default_rng(0)
    lanes = tiles * _WIDTH
    words = rng.integers(1 << 32, size=(2, lanes)).astype(np.uint32)
    state = rng.standard_normal((1, lanes)).astype(np.float32)
    for name, m in (("families of 1", 1), ("families of 4", 4), ("families of 64", 64)):
        first = np.stack([np.zeros(lanes, np.uint32), np.full(lanes, m // 2, np.uint32)])
        args = [jnp.asarray(x) for x in (words, first, np.full(tiles, m, np.int32), state, np.ones(1, np.float32))]
        run = jax.jit(functools.partial(nested_leaf, leaf=_walk, kinds=("normal",), tag=_TAG, most=m))
        piece = min(lanes, 1 << 14)
        by_numpy = functools.partial(_numpy, words[:, :piece], state[:, :piece], m)
        works = {
            "numpy": Work(by_numpy, piece * m, flops=_FLOPS * piece * m),
            "xla": Work(_waited(run, *args), lanes * m, flops=_FLOPS * lanes * m),
            "threefry alone": Work(_waited(_words, args[0]), lanes * _ALONE, flops=112.0 * lanes * _ALONE),
        }  # fmt: skip
        yield Case(f"nested_leaf {name}", "leaves", (lanes, m), works, "a walk, one normal")


def _walk(constants, state, u):
    return (state[0] + constants[0] * u[0],)


def _waited(function, *args):
    return lambda: jax.block_until_ready(function(*args))


@jax.jit
def _words(words):
    """Sums of one word of each of 64 counters for every key."""

    def add(q, total):
        child = jnp.full(_WIDTH, q, jnp.uint32)
        return [x + _threefry.threefry_2x32((k0, k1), (child, jnp.full_like(child, _TAG)))[0] for x, k0, k1 in total]

    def one(keys):
        k0, k1 = keys
        body = lambda q, total: add(q, [(total, k0, k1)])[0]  # noqa: E731
        return jax.lax.fori_loop(0, _ALONE, body, jnp.zeros_like(k0))

    return jax.lax.map(one, tuple(word.reshape(-1, _WIDTH) for word in words))


_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def _numpy(words, state, m):
    """All children of all lanes, one after the other, as whole arrays in place."""
    k0, k1 = words
    schedule = k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA)
    sums = np.zeros((2, 1, words.shape[1]), np.float32)
    x, y, spare = (np.empty_like(k0) for _ in range(3))
    for c in range(m):
        np.add(k0, np.uint32(c), out=x)
        np.add(k1, np.uint32(_TAG), out=y)
        for group in range(5):
            for rotation in _ROTATIONS[group % 2]:
                x += y
                np.right_shift(y, np.uint32(32 - rotation), out=spare)
                np.left_shift(y, np.uint32(rotation), out=y)
                y |= spare
                y ^= x
            x += schedule[(group + 1) % 3]
            y += schedule[(group + 2) % 3]
            y += np.uint32(group + 1)
        u = ((x >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
        sums[int(c >= (m + 1) // 2), 0] += state[0] + ndtri(u)
    return sums
