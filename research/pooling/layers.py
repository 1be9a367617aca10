"""Flax layers for every operator that has parameters: one wrapper around its equinox module.

    pool = layers.Layer(functools.partial(Gated.create, window=(2, 2)))
    variables = pool.init(key, x)            # {"params": {"weights": ...}}, named after the module's fields
    y = pool.apply(variables, x)

Parameters are those that `create` draws from flax's key, under the names of their fields, so that optax masks, weight
decay by name and checkpoints see them as they see every other layer's. Source: flax.linen's `Module.param`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax

__all__ = ["Layer"]


class Layer(nn.Module):
    """The pooling module that `create(key)` makes, as a layer: called with what the module is called with."""

    create: Callable[[jax.Array], eqx.Module]

    @nn.compact
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The module's output, of these parameters."""
        abstract = eqx.filter_eval_shape(self.create, jax.random.key(0))
        drawn = self.create(self.make_rng("params")) if self.is_initializing() else abstract
        arrays, rest = eqx.partition(drawn, _is_array)
        named = jax.tree_util.tree_map_with_path(self._held, arrays)
        return eqx.combine(named, rest)(*inputs, **options)

    def _held(self, path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return self.param(name, lambda _: leaf)


def _is_array(leaf):
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)
