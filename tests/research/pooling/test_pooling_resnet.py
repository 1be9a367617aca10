"""Residual networks: exact sizes, whichever the pool, and where it stands."""

import jax
import jax.numpy as jnp
import pytest

from research.pooling import resnet

PUBLISHED = {18: 11_689_512, 50: 25_557_032}


@pytest.mark.parametrize("depth", resnet.DEPTHS)
def test_sizes_are_exact(depth):
    network = resnet.resnet(depth, "soft")
    variables = jax.eval_shape(lambda key: network.init(key, jnp.zeros((1, 64, 64, 3))), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == PUBLISHED[depth]


def test_the_pool_halves_what_the_first_convolution_has_halved():
    seen = []
    network = resnet.ResNet((1,), False, 8, 10, lambda x: seen.append(x.shape) or x[:, ::2, ::2])
    logits = jax.eval_shape(
        lambda key, x: network.init_with_output(key, x)[0], jax.random.key(0), jnp.zeros((2, 64, 48, 3))
    )
    assert seen == [(2, 32, 24, 8)]
    assert logits.shape == (2, 10)


def test_an_unknown_depth_is_told():
    with pytest.raises(ValueError, match=r"^depth must be one of 18, 50, got 34\.$"):
        resnet.resnet(34)
