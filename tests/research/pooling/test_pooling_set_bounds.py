"""Theorems of sets: associators and orders (T10), readouts (T11), what a subset does not know (T12)."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import set_bounds


@pytest.mark.parametrize("seed", range(3))
def test_orders_and_groupings_differ_by_the_associator(seed, x64):
    """On (1 - d) hypot(a, b): commutative and 1-Lipschitz in each argument, nearly associative."""
    rng = np.random.default_rng(seed)
    delta, size = 0.01, 7

    def combine(a, b):
        return (1 - delta) * np.hypot(a, b)

    elements = rng.uniform(0.2, 2, size=(size, 1))
    reach = rng.uniform(0, np.linalg.norm(elements), size=(3, 20_000, 1))
    sampled = float(set_bounds.associator(combine, *reach).max())
    # (1-d) |hypot((1-d) h, c) - hypot(a, (1-d) h')| is largest where c or a is 0: d (1-d) |h|.
    epsilon = delta * (1 - delta) * np.linalg.norm(elements)
    assert 0.9 * epsilon < sampled <= epsilon
    folds = [functools.reduce(combine, elements[list(order)]) for order in itertools.permutations(range(size))]
    spread = np.ptp(folds)
    assert 0 < spread <= set_bounds.fold_spread(size, epsilon)

    def tree(items):
        pairs = [combine(*items[i : i + 2]) if i + 1 < len(items) else items[i] for i in range(0, len(items), 2)]
        return pairs[0] if len(pairs) == 1 else tree(pairs)

    gap = np.abs(tree(list(elements)) - functools.reduce(combine, elements)).max()
    assert 0 < gap <= set_bounds.tree_fold_difference(size, epsilon)
    exact = [functools.reduce(np.hypot, elements[list(order)]) for order in itertools.permutations(range(5))]
    np.testing.assert_allclose(np.ptp(exact), 0, atol=1e-14)


def test_sums_up_to_a_size_do_not_decide_what_follows():
    totals = jnp.arange(40.0)
    other = set_bounds.disagreeing_readout(lambda s: s % 2, 16.0)
    agree = np.asarray(other(totals) == totals % 2)
    np.testing.assert_array_equal(agree, np.arange(40) <= 16)
    # A binary operator on {0, 1} that is right on sets of two is right on all of them.
    table = np.array([[0, 1], [1, 0]])
    bits = np.random.default_rng(0).integers(0, 2, size=300)
    assert functools.reduce(lambda a, b: table[a, b], bits) == bits.sum() % 2


def test_a_subset_alone_has_an_irreducible_error():
    """All supersets of four of {0, 1, 2}, S its first two: the mean of V is enough, S is not, nothing is worst."""
    outcomes = np.array(list(itertools.product(range(3), repeat=4)))
    target = (outcomes[:, :2] > outcomes.mean(axis=1, keepdims=True)).mean(axis=1)
    subset = [tuple(sorted(row[:2])) for row in outcomes]
    both = [(*one, row.sum()) for one, row in zip(subset, outcomes, strict=True)]
    errors = [set_bounds.irreducible_error(target, seen) for seen in ([0] * len(target), subset, both)]
    assert errors[0] == pytest.approx(target.var())
    assert errors[0] > errors[1] > 0.01
    assert errors[2] == 0


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_the_law_of_a_share_given_its_subset(spread, x64):
    """Means and variances against 100,000 supersets drawn around fixed subsets; margins of six standard errors."""
    rng = np.random.default_rng(0)
    size, draws = 12, 100_000
    for count in (1, 4, 12):
        own = rng.normal(size=count)
        precision = count + spread**-2
        centre = rng.normal(own.sum() / precision, precision**-0.5, size=(draws, 1))
        rest = rng.normal(size=(draws, size - count)) + centre
        means = (own.sum() + rest.sum(axis=1)) / size
        shares = (own > means[:, None]).mean(axis=1)
        x = jnp.asarray(np.concatenate([own, np.full(size - count, np.nan)]))[None]
        law = set_bounds.share_given_subset(x, jnp.arange(size)[None] < count, spread)
        assert abs(shares.mean() - law.mean[0]) <= 6 * shares.std() / draws**0.5 + 1e-12
        fourth = ((shares - shares.mean()) ** 2).std()
        assert abs(shares.var() - law.variance[0]) <= 6 * fourth / draws**0.5 + 1e-12
    with pytest.raises(ValueError, match=r"spread must be positive and finite, got 0\.0\."):
        set_bounds.share_given_subset(x, jnp.ones((1, size), bool), 0.0)
