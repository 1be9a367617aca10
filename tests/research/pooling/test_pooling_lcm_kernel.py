"""The kernel of a TPU computes what `lcm` computes, and nothing else runs it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels._dispatch import forced
from research.core import prng
from research.pooling import lcm, monoid


@pytest.fixture(scope="module")
def drawn():
    """A cell, collections of which one is empty, and a linear function of their values."""
    cell = lcm.GRUCell.create(prng.root_key(0), 5, 5)
    x, weights = jax.random.normal(prng.root_key(1), (4, 6, 5)), jax.random.normal(prng.root_key(2), (4, 5))
    mask = np.random.default_rng(0).random((4, 6)) < 0.7
    mask[2] = False
    return cell, x, jnp.asarray(mask), weights


def value_and_slopes(tree, cell, x, mask, weights):
    def total(cell, x):
        y = tree(cell, x, mask)
        return jnp.sum(weights * y), y

    return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(cell, x)


def by_levels(cell, x, mask):
    return monoid.tree_reduce(functools.partial(lcm.combine, cell), x, mask)


def test_the_kernel_is_the_same_function(drawn):
    """The same tree of the same pairs: differences are roundings of products in another order."""
    with forced("pallas_interpret"):
        got = value_and_slopes(lcm._on_the_chip, *drawn)
    expected = value_and_slopes(by_levels, *drawn)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5), got, expected)


@pytest.mark.optimized
def test_other_platforms_have_the_bits_that_they_had(drawn):
    got, expected = value_and_slopes(lcm.lcm, *drawn), value_and_slopes(by_levels, *drawn)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_only_a_tpu_runs_the_kernel(drawn):
    cell, x, mask, _ = drawn

    def slopes(cell, x):
        return jax.grad(lambda cell, x: jnp.sum(lcm.lcm(cell, x, mask)), (0, 1))(cell, x)

    traced = jax.jit(slopes).trace(cell, x)
    kernels = {name: traced.lower(lowering_platforms=(name,)).as_text().count("tpu_custom_call")
               for name in ("tpu", "cpu", "cuda")}  # fmt: skip
    assert kernels == {"tpu": 2, "cpu": 0, "cuda": 0}  # there and back


def test_other_types_stay_with_the_levels(drawn):
    cell, x, mask, _ = drawn
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (cell, x))
    text = jax.jit(lcm.lcm).trace(*half, mask).lower(lowering_platforms=("tpu",)).as_text()
    assert "tpu_custom_call" not in text
