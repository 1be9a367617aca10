"""Networks that embed pictures: a residual network's features, one pool over all places, a linear map, length 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.pooling import image_models
from research.core import prng
from research.core import validate as checks
from research.pooling import gsp
from research.pooling.sets import set_pool
from research.pooling.tokens import normalized

__all__ = ["POOLS", "Network", "build", "proxy_logits"]

#: Sums of pools where there is a "+".
POOLS = ("avg", "max", "gem", "gsp", "avg+max", "gsp+max")


class Network(NamedTuple):
    """Attributes:
    init: `key -> (weights, statistics)`; weights are the `backbone`, the linear map `embedding [C, D]`, a proxy
      `[D]` for each class of training and, of "gsp", `prototypes [m, D]`.
    embed: `(weights, statistics, x, train) -> (embeddings [n, D], statistics)`, float32 of length 1.
    """

    init: Callable[[Any], tuple[dict[str, Any], Any]]
    embed: Callable[..., tuple[jax.Array, Any]]


def build(algo, *, classes: int, axis_name: str | None = None) -> Network:
    """A network as a config's `algo` describes it.

    Args:
      algo: model, kind and compute_dtype as in `image_models`; pool, of `POOLS`; dim; prototypes, mu and gamma of
        "gsp" and the power of "gem".
      classes: of training.

    As in the release of `gurbuz:23` GSP weighs features that are mapped already, prototypes live there, and it may have
    the maximum added to it. Departures: prototypes start from N(0, 0.3^2) instead of a k-centre of pooled features.
    """
    checks.one_of("config.algo.pool", algo.pool, POOLS)
    pools = algo.pool.split("+")
    model = image_models.build(algo.model, algo.kind, classes=None, dtype=algo.compute_dtype, axis_name=axis_name)

    def init(key):
        backbone, statistics = model.init(key)
        x = jnp.zeros((1, 32, 32, 3), algo.compute_dtype)
        channels = jax.eval_shape(lambda: model.apply(backbone, statistics, x, None)[0]).shape[-1]
        kernel = jax.random.normal(prng.stream(key, "embedding"), (channels, algo.dim)) / jnp.sqrt(channels)
        proxies = jax.random.normal(prng.stream(key, "proxies"), (classes, algo.dim)) / 8  # as in the source's release
        weights = {"backbone": backbone, "embedding": kernel, "proxies": proxies}
        if "gsp" in pools:
            start = gsp.GSP.create(prng.stream(key, "prototypes"), algo.dim, algo.prototypes)
            weights["prototypes"] = start.prototypes
        return weights, statistics

    def pooled(weights, name, x):
        if name == "gsp":
            return gsp.gsp_pool(x @ weights["embedding"], weights["prototypes"], algo.mu, algo.gamma)
        kind, params = ("power", {"p": algo.power}) if name == "gem" else ({"avg": "mean"}.get(name, name), None)
        return set_pool(x, kind, params=params) @ weights["embedding"]

    def embed(weights, statistics, x, train):
        features, statistics = model.apply(weights["backbone"], statistics, x, () if train else None)
        features = features.reshape(len(features), -1, features.shape[-1]).astype(jnp.float32)
        return normalized(sum(pooled(weights, name, features) for name in pools)), statistics

    return Network(init, embed)


def proxy_logits(embeddings: jax.Array, proxies: jax.Array, temperature: float) -> jax.Array:
    """`[n, classes]`: -|x - p_c|^2 / temperature up to a constant, with proxies scaled to length 1.

    Softmax and cross entropy make of it the loss of `teh:20`, whose temperature is 1 / 9; a picture's loss depends on
    itself and the proxies, and on no other picture of the batch.
    """
    return 2 / temperature * embeddings @ normalized(proxies).T  # |x - p|^2 = 2 - 2 x.p
