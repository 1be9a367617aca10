"""PoolFormer: a vision transformer whose token mixer is an average of neighbours, less the token itself.

mix(x) = avg of 3 x 3 windows at stride 1, padding left out of the mean, - x. It maps constants to 0, at borders too,
which it would not do if the padding counted. A block is x += s1 * mix(norm(x)), x += s2 * mlp(norm(x)) with a
group norm of one group, layer scales s of 1e-5 and a four times wider MLP with GELU; a stage starts with a strided
convolution. Source: `yu:22` and the authors' code, for shapes, drop rates and initial values.

The blocks of a stage are one `scan` over stacked parameters. Letters: `B` batch, `S` axes of the map, `C` channels,
`N` blocks of a stage.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling.norms import standardized
from research.pooling.operator import Operator
from research.pooling.windows import window_pool

__all__ = [
    "SIZES", "Block", "Convolution", "Norm", "PoolFormer", "Size", "example", "num_macs", "num_parameters",
    "one_group_norm", "poolformer_mix",
]  # fmt: skip


class Size(NamedTuple):
    """Blocks and channels of up to four stages; stochastic depth of the last block; initial layer scale."""

    blocks: tuple[int, ...]
    channels: tuple[int, ...]
    drop: float
    layer_scale: float = 1e-5


_SMALL, _MEDIUM = (64, 128, 320, 512), (96, 192, 384, 768)
#: The published sizes: 12, 21, 31, 56 and 73 million parameters at 1,000 classes.
SIZES = {
    "s12": Size((2, 2, 6, 2), _SMALL, 0.1),
    "s24": Size((4, 4, 12, 4), _SMALL, 0.1),
    "s36": Size((6, 6, 18, 6), _SMALL, 0.2, 1e-6),
    "m36": Size((6, 6, 18, 6), _MEDIUM, 0.3, 1e-6),
    "m48": Size((8, 8, 24, 8), _MEDIUM, 0.4, 1e-6),
}
#: (kernel, stride, padding) of the first convolution and of the other three.
_EMBEDDINGS = ((7, 4, 2), (3, 2, 1), (3, 2, 1), (3, 2, 1))
_RATIO = 4


def poolformer_mix(x: Float[Array, "B *S C"], size: int = 3, kind: str = "avg") -> Float[Array, "B *S C"]:
    """pool(x) - x, the pool over windows of `size` elements per axis at stride 1, padding left out.

    Args:
      size: odd, >= 1.
      kind: of `windows.window_pool`; "avg" is PoolFormer's.

    Guarantee: 0 on constants, for every kind that is idempotent.
    """
    checks.require(size >= 1 and size % 2 == 1, "size", "be odd and >= 1", size)
    pads = ((size // 2, size // 2),) * (x.ndim - 2)
    return window_pool(x, kind, size, 1, pads) - x


class Norm(eqx.Module):
    """Group norm of one group: over all positions and channels of an example."""

    gain: Float[Array, " C"]
    bias: Float[Array, " C"]

    @classmethod
    def create(cls, channels: int) -> "Norm":
        return cls(jnp.ones(channels), jnp.zeros(channels))

    def __call__(self, x: Float[Array, "B *S C"]) -> Float[Array, "B *S C"]:
        return one_group_norm(x, self.gain, self.bias)


def one_group_norm(
    x: Float[Array, "B *S C"], gain: Float[Array, " C"], bias: Float[Array, " C"]
) -> Float[Array, "B *S C"]:
    """(x - mean) / sqrt(var + 1e-5) gain + bias, moments over everything but B, in float32 at least."""
    shape = (1,) * (x.ndim - 1) + (-1,)
    found = standardized(x, tuple(range(1, x.ndim))) * gain.reshape(shape) + bias.reshape(shape)
    return found.astype(x.dtype)


class Convolution(eqx.Module):
    """A strided convolution with a bias."""

    kernel: Float[Array, "k k I O"]
    bias: Float[Array, " O"]
    stride: int = eqx.field(static=True)
    pad: int = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, size: int, inputs: int, outputs: int, stride: int, pad: int) -> "Convolution":
        """Kernel and bias uniform in +-1 / sqrt(inputs of an output)."""
        bound, keys = 1 / math.sqrt(size * size * inputs), jax.random.split(key)
        kernel = jax.random.uniform(keys[0], (size, size, inputs, outputs), minval=-bound, maxval=bound)
        return cls(kernel, jax.random.uniform(keys[1], (outputs,), minval=-bound, maxval=bound), stride, pad)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W O"]:
        pads = [(self.pad, self.pad)] * 2
        out = jax.lax.conv_general_dilated(
            x, self.kernel, (self.stride,) * 2, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return out + self.bias.reshape(1, 1, 1, -1)


class Block(eqx.Module):
    """Both residual branches of one block."""

    norms: tuple[Norm, Norm]
    wide: Float[Array, "C 4C"]
    wide_bias: Float[Array, " 4C"]
    narrow: Float[Array, "4C C"]
    narrow_bias: Float[Array, " C"]
    scales: Float[Array, "2 C"]

    @classmethod
    def create(cls, key: Key, channels: int, layer_scale: float = 1e-5) -> "Block":
        """Matrices from a normal law of deviation 0.02, cut at two deviations."""
        first, second = jax.random.split(key)
        width = _RATIO * channels
        return cls(
            (Norm.create(channels), Norm.create(channels)),
            0.02 * jax.random.truncated_normal(first, -2, 2, (channels, width)), jnp.zeros(width),
            0.02 * jax.random.truncated_normal(second, -2, 2, (width, channels)), jnp.zeros(channels),
            jnp.full((2, channels), layer_scale),
        )  # fmt: skip

    def __call__(
        self, x: Float[Array, "B *S C"], *, kind: str = "avg", drop: float | Float[Array, ""] = 0.0,
        key: Key | None = None,
    ) -> Float[Array, "B *S C"]:  # fmt: skip
        """The block's output.

        Args:
          kind: of the mixer's pool.
          drop: chance in [0, 1) with which a branch is left out for an example; the others are scaled up.
          key: of the draws, one for all examples or `[B]`, one for each, so that they do not depend on the batch;
            None for inference, where nothing is left out.
        """
        keep = jnp.ones((2, x.shape[0]), x.dtype)
        if key is not None:
            kept = jax.vmap(lambda one: jax.random.bernoulli(one, 1 - drop, (2,)), out_axes=1)
            drawn = kept(key) if key.ndim else jax.random.bernoulli(key, 1 - drop, keep.shape)
            keep = drawn.astype(x.dtype) / (1 - drop)
        column = (-1,) + (1,) * (x.ndim - 1)
        row = (1,) * (x.ndim - 1) + (-1,)
        scales = self.scales.astype(x.dtype)
        branch = poolformer_mix(self.norms[0](x), kind=kind)
        x = x + keep[0].reshape(column).astype(x.dtype) * scales[0].reshape(row) * branch
        hidden = jax.nn.gelu(self.norms[1](x) @ self.wide + self.wide_bias.reshape(row), approximate=False)
        branch = hidden @ self.narrow + self.narrow_bias.reshape(row)
        return x + keep[1].reshape(column).astype(x.dtype) * scales[1].reshape(row) * branch


class PoolFormer(eqx.Module):
    """The classifier: four stages, a last norm, the mean over positions, a linear head."""

    embeddings: tuple[Convolution, ...]
    stages: tuple[Block, ...]  # leaves `[N, ...]`
    norm: Norm
    head: Float[Array, "C classes"]
    head_bias: Float[Array, " classes"]
    kind: str = eqx.field(static=True)
    drop: float = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, size: str | Size = "s12", *, classes: int = 1000, inputs: int = 3, kind: str = "avg"):
        """Initial weights of a published size or of another `Size`; `kind` is that of the mixers' pool."""
        if not isinstance(size, Size):
            checks.one_of("size", size, tuple(SIZES))
            size = SIZES[size]
        for_convolutions, for_blocks, for_head = jax.random.split(key, 3)
        widths = (inputs, *size.channels)
        embeddings = tuple(
            Convolution.create(k, kernel, widths[i], widths[i + 1], stride, pad)
            for i, (k, (kernel, stride, pad)) in enumerate(
                zip(jax.random.split(for_convolutions, len(size.blocks)), _EMBEDDINGS, strict=False)
            )
        )
        stages = tuple(
            jax.vmap(lambda k, channels=channels: Block.create(k, channels, size.layer_scale))(
                jax.random.split(k, count)
            )
            for k, count, channels in zip(
                jax.random.split(for_blocks, len(size.blocks)), size.blocks, size.channels, strict=True
            )
        )
        last = size.channels[-1]
        head = 0.02 * jax.random.truncated_normal(for_head, -2, 2, (last, classes))
        return cls(embeddings, stages, Norm.create(last), head, jnp.zeros(classes), kind, size.drop)

    def __call__(self, x: Float[Array, "B H W 3"], key: Key | None = None) -> Float[Array, "B classes"]:
        """Logits; with a key or keys `[B]`, branches are left out at rates that grow from 0 to the size's `drop`."""
        counts = [stage.wide.shape[0] for stage in self.stages]
        rates = np.linspace(0, self.drop, sum(counts), dtype=np.float32)
        ends = np.cumsum(counts)

        def folded(number):
            if key is None or not key.ndim:
                return None if key is None else jax.random.fold_in(key, number)
            return jax.vmap(lambda one: jax.random.fold_in(one, number))(key)

        for embedding, stage, count, end in zip(self.embeddings, self.stages, counts, ends, strict=True):
            x = embedding(x)

            def block(x, one):
                parameters, rate, number = one
                return parameters(x, kind=self.kind, drop=rate, key=folded(number)), None

            numbers = jnp.arange(end - count, end)
            x, _ = jax.lax.scan(block, x, (stage, jnp.asarray(rates[end - count : end]), numbers))
        x = self.norm(x).mean(axis=(1, 2))
        return x @ self.head + self.head_bias[None]


def num_parameters(size: Size, classes: int = 1000, inputs: int = 3) -> int:
    """Exact number of parameters."""
    widths = (inputs, *size.channels)
    total = 2 * widths[-1] + (widths[-1] + 1) * classes
    for i, (count, channels) in enumerate(zip(size.blocks, size.channels, strict=True)):
        total += (_EMBEDDINGS[i][0] ** 2 * widths[i] + 1) * channels
        # Two matrices with their biases, two norms, two layer scales.
        total += count * (2 * _RATIO * channels**2 + (_RATIO + 1) * channels + 4 * channels + 2 * channels)
    return total


def num_macs(size: Size, image: int = 224, classes: int = 1000, inputs: int = 3) -> int:
    """Multiply-adds of the convolutions and matrices for one image of `image` x `image` pixels."""
    widths, side, total = (inputs, *size.channels), image, size.channels[-1] * classes
    for i, (count, channels) in enumerate(zip(size.blocks, size.channels, strict=True)):
        kernel, stride, pad = _EMBEDDINGS[i]
        side = (side + 2 * pad - kernel) // stride + 1
        total += side**2 * (kernel**2 * widths[i] * channels + count * 2 * _RATIO * channels**2)
    return total


def example(key: Key) -> dict[str, Operator]:
    """The mixer, and a block with scales large enough to be seen."""
    for_block, for_x = jax.random.split(key)
    x = jax.random.normal(for_x, (2, 4, 3, 2))
    return {
        "poolformer_mix": Operator(
            lambda _, x, mask: poolformer_mix(x), (), x, "mean of the 3 x 3 neighbours that exist, - x",
            "yu:22, section 3",
        ),
        "poolformer_block": Operator(
            lambda block, x, mask: block(x), Block.create(for_block, 2, 0.5), x,
            "x + s1 mix(norm(x)), then + s2 mlp(norm(x))", "yu:22, equation 2",
        ),
    }  # fmt: skip
