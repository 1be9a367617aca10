"""Image classifiers of the contest on users' pictures, behind one pair of functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.pooling import digit_nets as nets
from research.core import prng
from research.core import validate as checks
from research.pooling import poolformer, resnet
from research.pooling.windows import window_pool

__all__ = ["NAMES", "Model", "build", "decays", "draw_squares", "middles", "squares"]

#: The small ones are for rehearsals.
NAMES = ("resnet18", "resnet50", "resnet_small", "poolformer_s12", "poolformer_small")
#: Of the channels of ImageNet.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Names of the parameters that decay: not norms, biases and layer scales.
_DECAYED = ("kernel", "wide", "narrow", "head")
_SMALL = poolformer.Size((1, 1), (8, 16), 0.1)


class Model(NamedTuple):
    """Attributes:
    init: `key -> (weights, statistics)`.
    apply: `(weights, statistics, x, keys) -> (logits, statistics)`, a key for each picture; None at test time, when
      statistics stay.
    """

    init: Callable[[Any], tuple[Any, Any]]
    apply: Callable[..., tuple[jax.Array, Any]]


def build(
    name: str, kind: str, *, classes: int | None, dtype: str, axis_name: str | None = None, statistics: str = "batch"
) -> Model:  # fmt: skip
    """A model with pools of a kind of `windows.window_pool`: a residual network's first one, or every mixer.

    Args:
      classes: None for a residual network without its head, whose "logits" are the features `[B, H, W, C]`.
      axis_name: of devices that share a batch.
      statistics: whether batch statistics are of the whole "batch" or of a "device"'s part of it, which saves two
        messages a norm and makes results depend on the number of devices.
    """
    names = tuple(one for one in NAMES if one.startswith("resnet")) if classes is None else NAMES
    checks.one_of("model", name, names)
    if name.startswith("resnet"):
        return _resnet(name, kind, classes, jnp.dtype(dtype), axis_name, statistics)
    return _poolformer(name, kind, classes, jnp.dtype(dtype))


def draw_squares(key, shape: tuple[int, ...], side: int, crop: int) -> tuple[jax.Array, jax.Array]:
    """Corners `[*shape, 2]` of squares of `crop` pixels in pictures of `side`, and which to mirror, `[*shape]`."""
    corners = jax.random.randint(prng.stream(key, "corners"), (*shape, 2), 0, side - crop + 1)
    return corners, jax.random.bernoulli(prng.stream(key, "mirrors"), shape=shape)


def squares(images: jax.Array, corners: jax.Array, mirrors: jax.Array, crop: int, dtype: str) -> jax.Array:
    """What `draw_squares` drew, cut out of `images [n, side, side, 3]` and scaled, `[n, crop, crop, 3]`."""

    def one(image, corner, mirror):
        square = jax.lax.dynamic_slice(image, (*corner, 0), (crop, crop, 3))
        return jnp.where(mirror, square[:, ::-1], square)

    return _scaled(jax.vmap(one)(images, corners, mirrors), dtype)


def middles(images: jax.Array, crop: int, dtype: str) -> jax.Array:
    """The squares in the middle, scaled."""
    first = (images.shape[1] - crop) // 2
    inner = slice(first, first + crop)
    return _scaled(images[:, inner, inner], dtype)


def _scaled(images: jax.Array, dtype: str) -> jax.Array:
    """Bytes as numbers of mean 0 and deviation 1 over ImageNet."""
    centred = images.astype(jnp.float32) / 255 - jnp.array(_MEAN).reshape(1, 1, 1, 3)
    return (centred / jnp.array(_DEVIATION).reshape(1, 1, 1, 3)).astype(dtype)


def decays(weights):
    """Which parameters decay, as a tree of bool; of flax by key, of equinox by field."""

    def one(path, _):
        return getattr(path[-1], "key", getattr(path[-1], "name", "")) in _DECAYED

    return jax.tree_util.tree_map_with_path(one, weights)


def _resnet(name, kind, classes, dtype, axis_name, statistics) -> Model:
    # Kernels come from one draw: with one for each, starting would take minutes to compile.
    options = {"classes": classes, "dtype": dtype, "kernel_init": nn.initializers.zeros}
    options["axis_name"] = axis_name if statistics == "batch" else None
    if name == "resnet_small":
        pool = lambda x: window_pool(x, kind, 3, 2, ((1, 1), (1, 1)))  # noqa: E731
        network = resnet.ResNet((1, 1), False, 8, pool=pool, **options)
    else:
        network = resnet.resnet(int(name.removeprefix("resnet")), kind, **options)

    def init(key):
        variables = network.init(key, jnp.zeros((1, 32, 32, 3), dtype))
        kernels, rest = _kernels(variables["params"])
        drawn = nets.normals(prng.stream(key, "weights"), [leaf.shape for leaf in kernels])
        # He-normal by outputs; a head of deviation 0.01.
        fans = [math.prod(leaf.shape[:2]) * leaf.shape[3] if leaf.ndim == 4 else 2e4 for leaf in kernels]
        scales = [math.sqrt(2 / fan) for fan in fans]
        return rest([scale * one for scale, one in zip(scales, drawn, strict=True)]), variables["batch_stats"]

    def apply(weights, statistics, x, keys):
        variables = {"params": weights, "batch_stats": statistics}
        if keys is None:
            return network.apply(variables, x), statistics
        logits, updated = network.apply(variables, x, train=True, mutable=["batch_stats"])
        updated = updated["batch_stats"]
        # Those of devices differ, and one of them is kept for all.
        return logits, jax.lax.pmean(updated, axis_name) if axis_name and statistics == "device" else updated

    return Model(init, apply)


def _kernels(params):
    """The kernels of a flax tree, and the function that puts others in their place."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    at = [i for i, (path, _) in enumerate(leaves) if path[-1].key == "kernel"]

    def put(kernels):
        values = [leaf for _, leaf in leaves]
        for i, kernel in zip(at, kernels, strict=True):
            values[i] = kernel
        return jax.tree.unflatten(tree, values)

    return [leaves[i][1] for i in at], put


def _poolformer(name, kind, classes, dtype) -> Model:
    size = _SMALL if name == "poolformer_small" else name.removeprefix("poolformer_")

    def init(key):
        return poolformer.PoolFormer.create(prng.stream(key, "weights"), size, classes=classes, kind=kind), ()

    def apply(weights, statistics, x, keys):
        narrow = jax.tree.map(lambda leaf: leaf.astype(dtype), weights)
        return narrow(x, keys).astype(jnp.float32), statistics

    return Model(init, apply)
