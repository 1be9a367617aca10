"""Replicates on one device and across a mesh; eight devices are in tests/multi_device."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from research.core import prng, sharding


def walk(scale, key):
    return scale * jax.lax.scan(lambda x, k: (x + jax.random.normal(k), x), 0.0, jax.random.split(key, 5))[1]


def test_a_mesh_of_one_device_changes_nothing():
    keys = prng.replicate_keys(prng.root_key(0), 4)
    mesh = jax.make_mesh((1,), ("rep",), axis_types=(AxisType.Auto,))
    alone = sharding.replicates(walk, None, shared=1)(jnp.float32(2), keys)
    sharded = jax.jit(sharding.replicates(walk, mesh, shared=1))(jnp.float32(2), keys)
    assert alone.shape == (4, 5)
    np.testing.assert_allclose(sharded, alone, rtol=1e-6)


def test_abstract_leaves_get_the_sharding_of_concrete_ones():
    mesh = jax.make_mesh((1,), ("rep",), axis_types=(AxisType.Auto,))
    tree = {"x": jnp.zeros((4, 2)), "key": prng.replicate_keys(prng.root_key(0), 4)}
    placed = sharding.split_replicates(tree, mesh)
    abstract = sharding.split_replicates(jax.eval_shape(lambda: tree), mesh)
    assert jax.tree.map(lambda a: a.sharding, abstract) == jax.tree.map(lambda a: a.sharding, placed)
    assert sharding.replicated(tree, None) is tree
