"""The tree: what it computes, absent operands, shards; how far trees and folds of an operator can be apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import monoid

EVERY = 13  # elements: no power of two


def subtract(a, b):
    """Neither commutative nor associative, and exact in small integers."""
    return a - 2 * b


def by_hand(x, mask):
    """The tree over positions, padded to a power of two by absent elements."""
    nodes = [value if here else None for value, here in zip(x.tolist(), mask, strict=True)]
    nodes += [None] * (2 ** int(np.ceil(np.log2(len(nodes)))) - len(nodes))
    while len(nodes) > 1:
        pairs = zip(nodes[::2], nodes[1::2], strict=True)
        nodes = [b if a is None else a if b is None else subtract(a, b) for a, b in pairs]
    return 0 if nodes[0] is None else nodes[0]


@pytest.fixture(scope="module")
def integers():
    generator = np.random.default_rng(0)
    x, mask = generator.integers(-3, 4, (64, EVERY)).astype(np.float32), generator.random((64, EVERY)) < 0.6
    mask[:2] = [[False] * EVERY, [True] * EVERY]
    return x, mask


@pytest.fixture(scope="module")
def reduced(integers):
    return jax.jit(functools.partial(monoid.tree_reduce, subtract))(*integers)


def test_it_is_the_tree_of_positions(integers, reduced):
    np.testing.assert_array_equal(reduced, [by_hand(x, mask) for x, mask in zip(*integers, strict=True)])


def test_padding_changes_no_bit(integers, reduced):
    x, mask = integers
    longer = np.full((64, 32), np.nan, np.float32)
    longer[:, :EVERY] = x
    wider = np.pad(mask, ((0, 0), (0, 32 - EVERY)))
    found = jax.jit(functools.partial(monoid.tree_reduce, subtract))(longer, wider)
    np.testing.assert_array_equal(found, reduced)


def test_the_fold_goes_from_left_to_right(integers):
    found = jax.jit(functools.partial(monoid.fold_reduce, subtract, empty=-7.0))(*integers)
    for x, mask, value in zip(*integers, found, strict=True):
        kept = x[mask]
        assert value == (functools.reduce(subtract, kept) if len(kept) else -7)


def test_pytrees_are_reduced_together():
    """Complex numbers as pairs: their product."""
    x = np.random.default_rng(1).normal(size=(2, 5, 2)).astype(np.float32)

    def times(a, b):
        return {"re": a["re"] * b["re"] - a["im"] * b["im"], "im": a["re"] * b["im"] + a["im"] * b["re"]}

    pair = {"re": jnp.asarray(x[..., 0]), "im": jnp.asarray(x[..., 1])}
    one = {"re": 1.0, "im": 0.0}
    mask = np.array([[True] * 5, [False] * 5])
    found = jax.jit(functools.partial(monoid.tree_reduce, times, empty=one))(pair, mask)
    product = np.prod(x[0, :, 0] + 1j * x[0, :, 1])
    np.testing.assert_allclose([found["re"][0], found["im"][0]], [product.real, product.imag], rtol=1e-5)
    assert (found["re"][1], found["im"][1]) == (1, 0)


def test_shards_of_a_power_of_two_make_the_same_tree(integers):
    x, mask = (np.pad(a, ((0, 0), (0, 3))) for a in integers)
    parts = [jnp.moveaxis(jnp.asarray(a).reshape(64, 4, 4), 1, 0) for a in (x, mask)]
    sharded = functools.partial(monoid.tree_reduce_sharded, subtract, axis_name="data")
    found = jax.jit(jax.vmap(sharded, axis_name="data"))(*parts)
    expected = jax.jit(functools.partial(monoid.tree_reduce, subtract))(x, mask)
    for shard in found:
        np.testing.assert_array_equal(shard, expected)


def blunt_hypotenuse(a, b):
    return 0.99 * jnp.hypot(a, b)


@pytest.mark.usefixtures("x64")
def test_associator_bounds_what_order_and_tree_can_change():
    """T10 on a o b = 0.99 hypot(a, b), which is 1-Lipschitz in each argument: 200 sets of 7, 40 orders of each."""
    count, orders = 7, 40
    x = np.random.default_rng(2).uniform(0, 2, (200, count))
    mask = np.ones((200, count), bool)

    # Every value met lies in [0, root of the sum of squares]: the associator's largest value over a grid of that cube.
    grid = np.linspace(0, np.sqrt((x**2).sum(axis=1)).max(), 60)
    cube = [side[..., None] for side in np.meshgrid(grid, grid, grid, indexing="ij")]

    @jax.jit
    def measured(x):
        def fold(key):
            return monoid.fold_reduce(blunt_hypotenuse, monoid.permuted_elements(x, mask, key), mask)

        folds = jax.lax.map(fold, jax.random.split(prng.root_key(0), orders))
        fixed = monoid.fold_reduce(blunt_hypotenuse, x, mask)
        tree = monoid.tree_reduce(blunt_hypotenuse, x, mask, fill=1.0)
        return folds, tree - fixed, jnp.max(monoid.associator(blunt_hypotenuse, *cube))

    folds, gap, bound = measured(x)
    spread = np.ptp(folds, axis=0)
    assert spread.max() > 0.01
    assert spread.max() <= monoid.order_spread_bound(count, bound)
    assert 0.01 < np.abs(gap).max() <= monoid.tree_fold_bound(count, bound)


def test_associative_operators_have_no_associator():
    x, mask = np.random.default_rng(3).integers(-9, 9, (4, 6, 2)).astype(np.float32), np.ones((4, 6), bool)
    penalty = functools.partial(monoid.associator_penalty, jnp.add)
    value, slope = jax.jit(jax.value_and_grad(penalty))(x, mask)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_the_penalty_is_the_mean_over_neighbouring_triples_of_all_levels():
    """Three leaves of the first set are a triple, two of the second are none, and no level above has three nodes."""
    x = jnp.array([[[5.0], [1.0], [3.0]], [[1.0], [2.0], [9.0]]])
    mask = jnp.array([[True, True, True], [True, True, False]])
    left, right = subtract(subtract(5, 1), 3), subtract(5, subtract(1, 3))
    penalty = jax.jit(functools.partial(monoid.associator_penalty, subtract))
    assert penalty(x, mask) == (left - right) ** 2
    assert penalty(x, mask & False) == 0


def test_permuted_elements_keep_to_the_places_of_elements(integers):
    x, mask = integers
    moved = np.asarray(jax.jit(monoid.permuted_elements)(x, mask, prng.root_key(1)))
    np.testing.assert_array_equal(moved[~mask], x[~mask])
    np.testing.assert_array_equal(
        np.sort(np.where(mask, moved, np.inf), axis=1), np.sort(np.where(mask, x, np.inf), axis=1)
    )
    assert (moved != x).any(axis=1).mean() > 0.5


def test_flip_rate_is_that_of_the_decision(integers):
    x, mask = integers
    pairs = np.tile(np.array([[0.0, 1.0]], np.float32), (64, 1))

    @jax.jit
    def rates(key):
        by_total = monoid.flip_rate(lambda x, mask: jnp.where(mask, x, 0).sum(axis=1), x, mask, key)
        return by_total, monoid.flip_rate(lambda x, _: x[:, 0], pairs, np.ones((64, 2), bool), key, draws=64)

    by_total, by_first = rates(prng.root_key(2))
    assert by_total == 0
    assert abs(by_first - 0.5) < 6 * 0.5 / 64  # 4,096 fair coins, 6 standard deviations: false alarm 2e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: monoid.tree_reduce(jnp.add, jnp.ones((2, 3)), jnp.ones((2, 3))), "mask must be boolean, got float32"),
        (lambda: monoid.tree_reduce(jnp.add, jnp.ones((2, 3)), jnp.ones(2, bool)), r"mask must have shape \(G, N\)"),
        (
            lambda: monoid.fold_reduce(jnp.add, jnp.ones((2, 3)), jnp.ones((2, 4), bool)),
            r"mask must have shape \(2, 3\), got \(2, 4\)",
        ),
        (lambda: monoid.tree_reduce(jnp.add, jnp.ones((2, 0)), jnp.ones((2, 0), bool)), "at least one element"),
        (
            lambda: monoid.flip_rate(jnp.add, jnp.ones((2, 3)), jnp.ones((2, 3), bool), prng.root_key(0), 0),
            "draws must be >= 1, got 0",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
