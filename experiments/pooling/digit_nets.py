"""Small convolutional networks on digits: layers, the pools that a contest compares, and an epoch of training.

All pools of a contest are branches of one `lax.switch` with one set of parameters, of which a branch reads its own: a
contest is one compiled program however many pools it has.

Letters: `n` pictures, `C` channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.core import prng
from research.pooling import mixed, posets, tree
from research.pooling.windows import window_pool

__all__ = [
    "POOLS", "Pools", "convolve", "epoch", "loss", "normals", "pool", "pool_shapes", "start_dense", "start_kernel",
    "start_pools",
]  # fmt: skip

#: 2 x 2 windows at stride 2. `poset N / 4` is the poset filter times 1 / K.
POOLS = (
    "max", "avg", "mixed", "gated", "gated per channel", "tree", "soft", "power", "poset N", "poset N / 4",
)  # fmt: skip

_SMALLEST_POWER = 0.01


class Pools(NamedTuple):
    """Learned numbers of all pools at one place of a network."""

    share: jax.Array  # [], of mixed
    gate: jax.Array  # [4]
    gates: jax.Array  # [4, C]
    leaves: jax.Array  # [2, 4], of the tree
    root: jax.Array  # [1, 4]
    power: jax.Array  # [], softplus of it + 0.01 is the exponent

    @property
    def exponent(self) -> jax.Array:
        """Of the power mean."""
        return _SMALLEST_POWER + jax.nn.softplus(self.power)


def normals(key, shapes: Any) -> Any:
    """N(0, 1) arrays of a tree of shapes, from one draw: with one for each, compilation would take most of the time."""
    leaves, tree_of = jax.tree.flatten(shapes, is_leaf=lambda shape: isinstance(shape, tuple))
    sizes = [math.prod(shape) for shape in leaves]
    drawn = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(tree_of, [part.reshape(shape) for part, shape in zip(drawn, leaves, strict=True)])


def pool_shapes(channels: int) -> list[tuple[int, ...]]:
    """Of what `start_pools` needs."""
    return [(4,), (4, channels), (2, 4), (1, 4)]


def start_pools(drawn) -> Pools:
    """As the modules of the library start, from `normals` of `pool_shapes`; the exponent at 3."""
    gate, gates, leaves, root = drawn
    return Pools(
        jnp.float32(0.5), mixed.GATE_SCALE * gate, mixed.GATE_SCALE * gates, 1 / 4 + tree.SCALE * leaves,
        tree.SCALE * root, jnp.log(jnp.expm1(jnp.float32(3 - _SMALLEST_POWER))),
    )  # fmt: skip


_BRANCHES: dict[str, Callable] = {
    "max": lambda p, x: window_pool(x, "max", 2),
    "avg": lambda p, x: window_pool(x, "avg", 2),
    "mixed": lambda p, x: mixed.mixed_pool(x, p.share, 2),
    "gated": lambda p, x: mixed.gated_pool(x, p.gate, 2),
    "gated per channel": lambda p, x: mixed.gated_pool(x, p.gates, 2),
    "tree": lambda p, x: tree.tree_pool(x, p.leaves, p.root, 2),
    "soft": lambda p, x: window_pool(x, "soft", 2),
    "power": lambda p, x: window_pool(x, "power", 2, params={"p": p.exponent}),
    "poset N": lambda p, x: posets.poset_pool(x, 12),
    "poset N / 4": lambda p, x: posets.poset_pool(x, 12, scale=0.25),
}


def pool(names: tuple[str, ...], which, pools: Pools, x):
    """The pool number `which` (traced) of `names` on `[n, H, W, C]`; 2 x 2 windows."""
    return jax.lax.switch(which, [_BRANCHES[name] for name in names], pools, x)


def start_kernel(drawn):
    """He-normal, from N(0, 1) numbers `[3, 3, inputs, outputs]`."""
    return drawn * math.sqrt(2 / (9 * drawn.shape[2]))


def start_dense(drawn):
    """A matrix of variance 1 / inputs, from N(0, 1) numbers `[inputs, outputs]`, and a row of zeros for the bias."""
    return drawn / math.sqrt(drawn.shape[0]), jnp.zeros((1, drawn.shape[1]))


def convolve(x, kernel):
    """3 x 3 at stride 1 with zero padding, then a ReLU.

    As one matrix product of the neighbours: in a loop, XLA's convolutions take five times as long on CPUs.
    """
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jax.nn.relu(jnp.concatenate(shifts, axis=-1) @ kernel.reshape(-1, kernel.shape[3]))


def loss(logits, labels):
    """Mean cross entropy, nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def epoch(
    objective: Callable[[Any, jax.Array, jax.Array], jax.Array], weights, moments, key, number, *, rows: int,
    batch: int, learning_rate: float, epochs: int,
) -> tuple[Any, Any, jax.Array]:  # fmt: skip
    """One pass of Adam over `rows` training rows in random batches, at a rate that falls to 0 as half a cosine.

    Args:
      objective: `(weights, rows [batch], step) -> loss`; steps count through all epochs.
      key: of the order of all epochs; `number` says which one this is, 0, 1, ..., `epochs` - 1.

    Returns:
      weights, moments and the mean loss of the epoch.
    """
    steps = rows // batch
    order = jax.random.permutation(prng.per_step(key, number), rows)[: steps * batch].reshape(steps, batch)
    adam = optax.scale_by_adam()

    def step(carry, chosen):
        weights, moments, done = carry
        value, gradients = jax.value_and_grad(objective)(weights, chosen, done)
        updates, moments = adam.update(gradients, moments)
        rate = learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * done / (steps * epochs)))
        weights = jax.tree.map(lambda w, u: w - rate * u, weights, updates)
        return (weights, moments, done + 1), value

    (weights, moments, _), values = jax.lax.scan(step, (weights, moments, number * steps), order)
    return weights, moments, values.mean()
