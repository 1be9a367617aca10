"""One set of weights for every placement of 2 x 2 max-pools between the blocks of a convolutional network.

A network of `blocks` equal blocks (3 x 3 convolution, batch normalisation, relu, added to its input) has a gap after
each block but the last; a placement is the set of gaps that hold a pool. Weights do not depend on it, but shapes do:
`jax.lax.switch` over a function per placement compiles as many networks, forwards and backwards, and took minutes for
fifteen. Since blocks are equal, one program serves all: every resolution has a loop over the blocks that can lie in it,
which runs those that do and passes by the others. So a placement is data, and nothing is computed that it does not use.
Source: `javan:23`. Departures: equal widths, so that a pool may stand in any gap.

Letters: `B` pictures of `H` x `W` pixels and `P` planes, `C` channels, `L` blocks, `K` classes, `S` pools.
"""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.pooling.norms import standardized

__all__ = ["Network", "Weights", "placements"]


class Weights(NamedTuple):
    stem: Float[Array, "9P C"]
    blocks: Float[Array, "L 9C C"]
    head: Float[Array, "C K"]


def placements(blocks: int, pools: int) -> tuple[tuple[int, ...], ...]:
    """All sets of `pools` gaps out of `blocks` - 1, in lexicographic order; gap g lies after block g, from 0."""
    checks.at_least("blocks", blocks, 2)
    checks.require(0 <= pools < blocks, "pools", f"lie in [0, {blocks - 1}]", pools)
    return tuple(itertools.combinations(range(blocks - 1), pools))


def _convolve(x: Float[Array, "B H W C"], kernel: Float[Array, "9C D"]) -> Float[Array, "B H W D"]:
    """3 x 3, zero padding, as one product over nine shifted copies: as fast forwards and backwards on every backend."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1) @ kernel


def _normalize(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """By the batch's own moments, without scale or shift: no moments are kept, which would mix placements."""
    return standardized(x, (0, 1, 2))


def _pool(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """2 x 2 max-pool without overlap; an odd last row or column is dropped."""
    batch, height, width, channels = x.shape
    split = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    return split.max(axis=(2, 4))


class Network(eqx.Module):
    """Sizes; a static, hashable description."""

    blocks: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    classes: int = eqx.field(static=True)
    planes: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        for name in ("blocks", "channels", "classes", "planes"):
            checks.at_least(f"Network.{name}", getattr(self, name), 1)

    def init(self, key: Key) -> Weights:
        """Normal weights of variance 2 over the number of inputs."""
        shapes = (
            (9 * self.planes, self.channels),
            (self.blocks, 9 * self.channels, self.channels),
            (self.channels, self.classes),
        )
        keys = jax.random.split(key, 3)
        return Weights(*(
            jax.random.normal(one, shape) * (2 / shape[-2]) ** 0.5 for one, shape in zip(keys, shapes, strict=True)
        ))  # fmt: skip

    def __call__(
        self, weights: Weights, placement: Int[Array, " S"], images: Float[Array, "B H W P"]
    ) -> Float[Array, "B K"]:
        """Logits; `placement` are increasing gaps from 0 to L - 2 and may be traced, their number S is static."""
        x = jax.nn.relu(_normalize(_convolve(images, weights.stem)))
        pools = len(placement)
        ends = [-1, *(placement[at] for at in range(pools)), self.blocks - 1]
        for level in range(pools + 1):
            # At least one block lies between two pools: the first `level` are above, the last ones below.
            reach = slice(level, self.blocks - pools + level)
            x = _level(x, weights.blocks[reach], jnp.arange(self.blocks)[reach], ends[level], ends[level + 1])
            x = _pool(x) if level < pools else x
        return x.mean(axis=(1, 2)) @ weights.head


def _level(x, kernels, numbers, before, last):
    """Blocks `before` + 1 to `last`, out of those that are numbered."""

    def block(x, given):
        kernel, number = given
        runs = (number > before) & (number <= last)
        return jax.lax.cond(runs, lambda x: x + jax.nn.relu(_normalize(_convolve(x, kernel))), lambda x: x, x), None

    return jax.lax.scan(block, x, (kernels, numbers))[0]
