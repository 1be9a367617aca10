"""Ordered pivotal sampling: worked laws, marginals, prefix sizes, negative dependence; by enumeration and by draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.core import prng
from research.matching import exact_law, leaving, oracles_exact, pivotal

#: Sets as bit masks.
WORKED = {
    (0.5, 0.4, 0.3): {1: 0.388888888889, 5: 0.111111111111, 2: 0.311111111111, 6: 0.088888888889, 4: 0.1},
    (0.6, 0.7, 0.5, 0.4): {
        3: 0.225, 11: 0.075, 5: 0.160714285714, 13: 0.053571428571, 9: 0.085714285714, 6: 0.214285714286,
        14: 0.071428571429, 10: 0.114285714286,
    },
}  # fmt: skip


def dense(law, num_elements):
    out = np.zeros(1 << num_elements)
    out[list(law)] = list(law.values())
    return out


@jax.jit
def selected_laws(v):
    """The law of the selected set: of the leaving set, if whoever is selected leaves."""
    one = jnp.ones((), v.dtype)
    return jax.vmap(lambda v: leaving.pivotal_leaving(v, jnp.arange(v.shape[0]), one))(v)


@pytest.mark.parametrize("v", WORKED)
def test_worked_laws(v, x64):
    expected = dense(WORKED[v], len(v))
    np.testing.assert_allclose(dense(oracles_exact.pivotal_law(np.asarray(v)), len(v)), expected, atol=1e-11)
    np.testing.assert_allclose(selected_laws(jnp.asarray([v], jnp.float64))[0], expected, atol=1e-11)


def test_worked_first_selected(x64):
    first = {(0.5, 0.4, 0.3): (0.5, 0.4, 0.1), (0.6, 0.7, 0.5, 0.4): (0.6, 0.4, 0, 0)}
    for v, law in first.items():
        np.testing.assert_allclose(pivotal.best_law(jnp.asarray(v, jnp.float64)), law, atol=1e-12)


def random_values(seed, count, num_elements):
    """Random values, some of them 0 or 1, some with prefixes that sum to an integer."""
    rng = np.random.default_rng(seed)
    v = rng.random((count, num_elements))
    kind = rng.random(v.shape)
    return np.where(kind < 0.1, 0, np.where(kind < 0.2, 1, np.where(kind < 0.4, 0.5, v)))


def test_every_property_on_random_values(x64):
    v = random_values(0, 300, 6)
    laws = np.asarray(selected_laws(jnp.asarray(v, jnp.float64)))
    np.testing.assert_allclose(laws.sum(1), 1, atol=1e-13)
    np.testing.assert_allclose(exact_law.survival(jnp.asarray(laws)), v, atol=1e-12)
    for slack in exact_law.dependence_slack(jnp.asarray(laws)):
        assert np.asarray(slack).max() <= 1e-12
    inside = exact_law.membership(6)
    for length in range(1, 7):
        size, total = inside[:, :length].sum(1), v[:, :length].sum(1)
        allowed = (size[None] >= np.floor(total + 1e-9)[:, None]) & (size[None] <= np.ceil(total - 1e-9)[:, None])
        assert np.where(allowed, 0, laws).max() <= 1e-12
    first = np.where(inside, ~np.pad(np.cumsum(inside, 1) > 0, ((0, 0), (1, 0)))[:, :-1], False)
    np.testing.assert_allclose(laws @ first, pivotal.best_law(jnp.asarray(v, jnp.float64)), atol=1e-12)


def test_enumeration_agrees_with_the_reference(x64):
    v = random_values(1, 40, 5)
    laws = np.asarray(selected_laws(jnp.asarray(v, jnp.float64)))
    for value, law in zip(v, laws, strict=True):
        np.testing.assert_allclose(law, dense(oracles_exact.pivotal_law(value), 5), atol=1e-12)


def test_draws_follow_the_law():
    v = np.concatenate([random_values(2, 6, 5), [[0.6, 0.7, 0.5, 0.4, 0.2]]]).astype(np.float32)
    num_draws = 100_000
    keys = prng.replicate_keys(prng.root_key(3), num_draws)
    draw = jax.jit(jax.vmap(lambda v: jax.vmap(lambda key: pivotal.sample(key, v))(keys)))
    masks = np.asarray(draw(jnp.asarray(v))) @ (1 << np.arange(5))
    limit = 1e-6 / (2 * v.shape[0] * 32)  # two-sided, over all sets of all vectors
    for value, drawn in zip(v, masks, strict=True):
        law = dense(oracles_exact.pivotal_law(value.astype(np.float64)), 5)
        counts = np.bincount(drawn, minlength=32)
        assert np.all(counts[law < 1e-12] == 0)
        assert stats.binom.cdf(counts, num_draws, law).min() > limit
        assert stats.binom.sf(counts - 1, num_draws, law).min() > limit


def test_sizes_in_single_precision_where_sums_are_integers():
    """Ten values of 0.1 and their like: rounding must not select one element too many or too few."""
    keys = prng.replicate_keys(prng.root_key(4), 2000)
    shares = jnp.asarray([0.1, 0.2, 0.3, 0.7, 0.9], jnp.float32)
    draw = jax.vmap(lambda share: jax.vmap(lambda key: pivotal.sample(key, jnp.full(10, share)))(keys))
    sizes = np.asarray(jax.jit(draw)(shares)).sum(-1)
    np.testing.assert_array_equal(sizes, np.broadcast_to([[1], [2], [3], [7], [9]], sizes.shape))
