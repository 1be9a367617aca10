"""Flax layers compute what their equinox modules compute, of parameters under the names of the fields."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import prng
from research.pooling import layers
from research.pooling.attention import AttentionPool
from research.pooling.mixed import Gated


def test_a_layer_is_its_module():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    create = functools.partial(Gated.create, window=(2, 2))
    layer = layers.Layer(create)
    variables = layer.init(prng.root_key(1), x)
    assert jax.tree.map(jnp.shape, variables) == {"params": {"weights": (4,)}}
    module = Gated(variables["params"]["weights"], (2, 2))
    np.testing.assert_array_equal(layer.apply(variables, x), module(x))
    slope = jax.grad(lambda variables: layer.apply(variables, x).sum())(variables)["params"]["weights"]
    expected = eqx.filter_grad(lambda module: module(x).sum())(module).weights
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_a_layer_of_several_parts_has_a_parameter_for_each():
    x = jax.random.normal(jax.random.key(0), (3, 5, 4))
    layer = layers.Layer(functools.partial(AttentionPool.create, dim=4))
    variables = layer.init(prng.root_key(1), x)
    assert all("." not in name or "/" not in name for name in variables["params"])
    assert layer.apply(variables, x).shape[0] == 3
