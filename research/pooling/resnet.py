"""Residual networks in which the pool behind the first convolution may be of any window kind.

Bottleneck blocks have their stride in the 3 x 3 convolution, as the releases that people compare with have.
Source: `he:16`; 11,689,512 parameters for depth 18 and 25,557,032 for depth 50 at 1,000 classes, if the pool has none.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float
from research.pooling.windows import window_pool

__all__ = ["DEPTHS", "ResNet", "resnet"]

#: Blocks of every stage, and whether a block is a bottleneck.
DEPTHS = {18: ((2, 2, 2, 2), False), 50: ((3, 4, 6, 3), True)}


class _Block(nn.Module):
    """Two convolutions, or three with a bottleneck, beside a shortcut."""

    width: int
    stride: int
    bottleneck: bool
    convolution: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x):
        outputs = 4 * self.width if self.bottleneck else self.width
        strides, size = ((1, self.stride, 1), (1, 3, 1)) if self.bottleneck else ((self.stride, 1), (3, 3))
        widths = (self.width, self.width, outputs) if self.bottleneck else (self.width, self.width)
        y = x
        for number, (width, stride, side) in enumerate(zip(widths, strides, size, strict=True)):
            last = number == len(widths) - 1
            y = self.convolution(width, (side, side), (stride, stride), padding=((side // 2,) * 2,) * 2)(y)
            # A branch that starts at 0 leaves the block an identity.
            y = self.norm(scale_init=nn.initializers.zeros if last else nn.initializers.ones)(y)
            y = y if last else nn.relu(y)
        if x.shape != y.shape:
            x = self.norm()(self.convolution(outputs, (1, 1), (self.stride, self.stride))(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The classifier, or what is below its head; `apply` with `mutable=["batch_stats"]` in training.

    Attributes:
      blocks: of every stage.
      bottleneck: of every block.
      width: of the first stage, doubled by each of the others.
      classes: of the head; None for the features of the last stage, `[B, H, W, C]` of this dtype, without one.
      pool: `[B, H, W, C] -> [B, H', W', C]` behind the first convolution, normalised and rectified.
      dtype: of activations; parameters and statistics are float32.
      axis_name: of devices over which batch statistics are taken; None for those of one.
      kernel_init: of convolutions, He-normal by their outputs.
    """

    blocks: Sequence[int]
    bottleneck: bool
    width: int = 64
    classes: int | None = 1000
    pool: Callable[[Array], Array] | None = None
    dtype: Any = jnp.float32
    axis_name: str | None = None
    kernel_init: Callable = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], train: bool = False) -> Float[Array, "B *outputs"]:
        convolution = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype, kernel_init=self.kernel_init)
        norm = functools.partial(
            nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.dtype, axis_name=self.axis_name
        )
        x = nn.relu(norm()(convolution(self.width, (7, 7), (2, 2), padding=((3, 3), (3, 3)))(x)))
        x = x if self.pool is None else self.pool(x)
        for stage, count in enumerate(self.blocks):
            for number in range(count):
                stride = 2 if stage and not number else 1
                x = _Block(self.width * 2**stage, stride, self.bottleneck, convolution, norm)(x)
        if self.classes is None:
            return x
        return nn.Dense(self.classes, dtype=self.dtype)(x.mean(axis=(1, 2))).astype(jnp.float32)


def resnet(depth: int, kind: str = "max", *, params: dict[str, Any] | None = None, **options) -> ResNet:
    """The network of a published depth with 3 x 3 windows of `kind` at stride 2 behind the first convolution.

    Args:
      depth: one of `DEPTHS`.
      kind, params: as in `windows.window_pool`.
      options: of `ResNet`, such as classes and dtype.
    """
    checks.one_of("depth", depth, tuple(DEPTHS))
    blocks, bottleneck = DEPTHS[depth]

    def pool(x: jax.Array) -> jax.Array:
        return window_pool(x, kind, 3, 2, ((1, 1), (1, 1)), params=params)

    return ResNet(blocks, bottleneck, pool=pool, **options)
