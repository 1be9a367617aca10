"""Families through the kernel against the engine: the same replicates, up to the order of summation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.nested_leaf import kernel_tpu
from research.mlmc import engine, leaf_blocks, levels, read, walks, words

REPLICATES, RATE = 1024, 0.6
TILE, TILES = 16, 16


def test_replicates_are_those_of_the_engine():
    """Depth 1, one variate; 2e-4 is what float32 replicates are held to, and the engine's normals are off by 2e-5."""
    problem, law = walks.walk("A3"), levels.Geometric(RATE)
    ids = jnp.arange(REPLICATES, dtype=jnp.uint32), jnp.zeros(REPLICATES, jnp.uint32)
    seed = jnp.asarray([1, 2], jnp.uint32)

    @jax.jit
    def by_blocks(ids):
        keys, states = engine.roots(problem, (seed[0], seed[1]), ids)
        level, _ = levels.draw(law, words.level_words(keys))
        a, b = leaf_blocks.halves(problem, keys, states, level, jnp.ones(REPLICATES, bool), tile=TILE)
        link, delta = jax.vmap(lambda s, z: problem.link(0, s, z)), jax.vmap(lambda s, a, b: problem.delta(0, s, a, b))
        value = jnp.where(level == 0, link(states, a), delta(states, a, b))
        return value / jnp.asarray(law.table(2 * law.last), jnp.float32)[level], level

    got, level = by_blocks(ids)
    params = read.Params(r=(RATE,), block=REPLICATES, tiles=(REPLICATES, 256))
    expected = read.replicates(problem, params, seed, np.arange(REPLICATES))
    # Families of one child, of whole lanes, of several lanes and of more lanes than are run at once.
    assert set(range(6)) <= set(np.unique(level))
    assert 2 ** (np.max(level) - leaf_blocks.LONG) > TILES * TILE
    np.testing.assert_array_equal(2 ** np.asarray(level), expected.leaves)
    np.testing.assert_allclose(got, expected.value, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "r", "b"), [("A3", (0.6,), (1,)), pytest.param("E1", (0.65, 0.58), (0, 1), marks=pytest.mark.slow)]
)
def test_the_engine_takes_its_families_from_the_kernel(name, r, b):
    """`Params.leaves` chooses: the same leaves, the same replicates up to the order of summation."""
    found, expected = (
        read.replicates(walks.walk(name), read.Params(r=r, b=b, block=256, leaves=leaves), (1, 2), np.arange(256))
        for leaves in ("blocks", "random")
    )
    np.testing.assert_array_equal(found.leaves, expected.leaves)
    np.testing.assert_allclose(found.value, expected.value, rtol=0, atol=2e-4)


def test_what_the_kernel_cannot_do_is_refused(x64):
    with pytest.raises(ValueError, match=r"estimator with leaves='blocks' must be one of 'single', got 'block'"):
        read.plan(walks.walk("A1"), read.Params(r=(0.6,), estimator="block", leaves="blocks"))
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), walks.walk("A1"))
    with pytest.raises(
        ValueError, match=r"Params.leaves must be 'random' or 'sobol' for this problem, got 'blocks': .*"
    ):
        read.plan(wide, read.Params(r=(0.6,), leaves="blocks"))


def test_a_problem_of_numbers_is_served_by_the_kernel():
    """Its arrays are read outside; what is left is elementwise, and its constants are single numbers."""
    problem = walks.walk("C2")
    leaf, constants = leaf_blocks.as_leaf(problem, jnp.zeros(4))
    np.testing.assert_array_equal(constants, problem.scales[3:])
    lanes = 4 * SUBLANES * LANES
    keys, state = jax.ShapeDtypeStruct((2, lanes), jnp.uint32), jax.ShapeDtypeStruct((1, lanes), jnp.float32)
    count = jax.ShapeDtypeStruct((4,), jnp.int32)
    assert kernel_tpu.unsupported(keys, keys, count, state, constants, leaf=leaf, kinds=("normal",)) is None


def test_what_cannot_be_summed_is_said():
    assert leaf_blocks.unsupported(walks.walk("A1"), jnp.zeros(4)) is None
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), walks.walk("A1"))
    assert "float64" in leaf_blocks.unsupported(wide, np.zeros(4))
