"""Poset filters: the table of 16 orders, the order polytope, gradients that are its vertices."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import posets

COUNTS = (9, 16, 12, 6, 10, 10, 9, 6, 8, 9, 7, 7, 8, 5, 6, 7)
X = np.array([[-5, 2, 9, 0], [7, -2, 5, -4], [3, 10, 1, 8], [-1, 6, -3, 4]], float)[None, :, :, None]
WORKED = {1: [[9, 14], [19, 13]], 12: [[7, 10], [19, 13]], 13: [[7, 10], [18, 10]], 15: [[7, 10], [18, 12]]}


def every_value(windows):
    """`[16, windows]` of all classes on `[windows, 4]`."""
    elements = tuple(windows.T)
    return jnp.stack([posets.support(elements, number)[0] for number in range(16)])


@pytest.fixture(scope="module")
def random_windows():
    """Signed windows `[N, 4]`, their values of all 16 classes and the gradients `[16, N, 4]`, in float64."""
    with jax.enable_x64(True):
        windows = jnp.asarray(np.random.default_rng(0).normal(size=(4000, 4)))

        def both(windows):
            pooled = lambda number: lambda x: posets.poset_pool(x, number)  # noqa: E731
            shaped = windows.reshape(-1, 2, 2, 1)
            found = [jax.vjp(pooled(number), shaped) for number in range(16)]
            gradients = [pull(jnp.ones_like(value))[0].reshape(-1, 4) for value, pull in found]
            return jnp.stack([value.reshape(-1) for value, _ in found]), jnp.stack(gradients)

        return (np.asarray(windows), *map(np.asarray, jax.jit(both)(windows)))


def test_the_table_lists_every_class_once():
    """The classes are pairwise not isomorphic, there are 16 orders of four elements, and the counts are those known."""
    assert tuple(len(posets.filters(number)) for number in range(16)) == COUNTS
    orders = [posets.relations(covers) for covers in posets.COVERS]
    permutations = [np.array(p) for p in itertools.permutations(range(4))]
    for one, other in itertools.combinations(orders, 2):
        assert not any((one[np.ix_(p, p)] == other).all() for p in permutations)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-6), (np.float32, 2e-5)])
def test_worked_values(dtype, rtol, x64):
    for number, expected in WORKED.items():
        found = posets.poset_pool(jnp.asarray(X, dtype), number)
        assert found.dtype == dtype
        np.testing.assert_allclose(found[0, ..., 0], expected, rtol=rtol)
    holes = np.zeros((1, 5, 5, 1), dtype)
    holes[:, ::2, ::2] = 1
    np.testing.assert_array_equal(posets.poset_pool(jnp.asarray(holes), 12), np.ones((1, 3, 3, 1)))


def test_values_equal_a_search_over_all_subsets(random_windows):
    windows, values, _ = random_windows
    for number, covers in enumerate(posets.COVERS):
        closed = [s for s in range(16) if all(not s >> i & 1 or s >> j & 1 for i, j in covers)]
        best = np.max([windows[:50] @ [(s >> k) & 1 for k in range(4)] for s in closed], axis=0)
        np.testing.assert_allclose(values[number, :50], best, rtol=1e-12, atol=1e-15)


def test_values_lie_in_their_bounds_and_refining_lowers_them(random_windows, x64):
    windows, values, _ = random_windows
    low, high = map(np.asarray, posets.value_bounds(windows))
    assert (values >= low - 1e-12).all()
    assert (values <= high + 1e-12).all()
    np.testing.assert_allclose(values[1], high, rtol=1e-12, atol=1e-15)  # the antichain
    suffixes = np.cumsum(windows[:, ::-1], axis=1).max(axis=1)
    np.testing.assert_allclose(values[13], np.maximum(suffixes, 0), rtol=1e-12, atol=1e-15)  # the chain
    ordered = [(p, q) for p in range(16) for q in range(16) if p != q and posets.refines(p, q)]
    assert len(ordered) > 40
    for finer, coarser in ordered:
        assert (values[finer] <= values[coarser] + 1e-12).all()


def test_gradients_are_the_vertices_of_the_polytope(random_windows):
    """Every filter is the unique maximiser of some of 4,000 windows; 2 of 4 inputs are updated on average."""
    windows, values, gradients = random_windows
    np.testing.assert_allclose((gradients * windows).sum(axis=2), values, rtol=1e-12, atol=1e-12)
    for number in range(16):
        seen = {tuple(row) for row in gradients[number].astype(int)}
        assert seen == {tuple(row) for row in posets.filters(number).astype(int)}


def test_support_functions_are_sublinear(random_windows, x64):
    windows, values, _ = random_windows
    half = len(windows) // 2
    both = np.concatenate([windows[:half] + windows[half:], 3.5 * windows[:half]])
    found = np.asarray(jax.jit(every_value)(jnp.asarray(both)))
    assert (found[:, :half] <= values[:, :half] + values[:, half:] + 1e-12).all()
    np.testing.assert_allclose(found[:, half:], 3.5 * values[:, :half], rtol=1e-12, atol=1e-14)
    for number in range(16):
        for order in posets.automorphisms(number):
            moved = posets.support(tuple(windows[:200, order].T), number)[0]
            np.testing.assert_allclose(moved, values[number, :200], rtol=1e-12, atol=1e-14)


def test_behind_a_relu_every_poset_is_the_sum(random_windows, x64):
    windows = np.maximum(random_windows[0][:200], 0)
    found = np.asarray(jax.jit(every_value)(jnp.asarray(windows)))
    np.testing.assert_allclose(found, np.broadcast_to(windows.sum(axis=1), found.shape), rtol=1e-12)


def test_nothing_positive_has_no_gradient_and_ties_go_to_the_first():
    gradient = jax.grad(lambda x, number: posets.poset_pool(x, number).sum())
    negative = -jnp.ones((1, 2, 2, 1))
    np.testing.assert_array_equal(gradient(negative, 1), np.zeros((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient(0 * negative, 12), np.zeros((1, 2, 2, 1)))
    # Antichain: one positive and a zero. {1} and {1, 0} are equal, the smaller is first.
    np.testing.assert_array_equal(gradient(jnp.array([0.0, 2, -1, -1]).reshape(1, 2, 2, 1), 1).ravel(), [0, 1, 0, 0])


def test_many_filters_take_the_loop(x64):
    """3 x 3 windows: 512 filters of the antichain, 10 of the chain, against closed forms."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(1, 6, 6, 2)))
    windows = np.asarray(x).reshape(1, 2, 3, 2, 3, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 2, 2, 2, 9)
    antichain, pull = jax.vjp(lambda x: posets.poset_pool(x, (), 3), x)
    np.testing.assert_allclose(antichain, np.maximum(windows, 0).sum(axis=-1), rtol=1e-12)
    np.testing.assert_array_equal(pull(jnp.ones_like(antichain))[0], np.asarray(x) > 0)
    chain = posets.poset_pool(x, tuple((i, i + 1) for i in range(8)), 3)
    suffix = np.cumsum(windows[..., ::-1], axis=-1).max(axis=-1)
    np.testing.assert_allclose(chain, np.maximum(suffix, 0), rtol=1e-12, atol=1e-15)
    assert len(posets.filters(tuple((i, i + 1) for i in range(8)), 9)) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"poset": 16}, "poset must be a number in 0..15 or covers, got 16."),
        ({"window": 3}, "window must have 4 elements, as poset 12 has, got 9 elements."),
        ({"poset": ((0, 4),)}, "covers must be pairs of positions 0..3, got (0, 4)."),
        ({"poset": ((0, 1), (1, 2), (2, 0))}, "covers must be acyclic, got ((0, 1), (1, 2), (2, 0))."),
        ({"poset": (), "window": 5}, "window must have 1 to 16 elements, got 25 elements."),
        ({"window": (2, 2, 1)}, "window must have one number for each of the 2 spatial axes"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        posets.poset_pool(jnp.zeros((1, 6, 6, 1)), **arguments)
