"""Low-rank bilinear pooling: worked example, full expressivity, ranks that do not suffice, DistMult, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import bilinear, robust_bounds
from research.pooling.bilinear import Factors

SMALL = Factors(np.arange(8.0).reshape(2, 4) / 4, np.arange(12.0).reshape(3, 4) / 6 - 1)


def test_worked_example(x64):
    e, r = jnp.array([1.0, -2]), jnp.array([0.5, 1, 2])
    expected = {False: (-0.604166667, -6.854166667), True: (-0.284614804, -0.958641963)}
    for normalize, value in expected.items():
        np.testing.assert_allclose(bilinear.bilinear_pool(e, r, SMALL, 2, normalize), value, rtol=1e-8)
        single = jax.tree.map(jnp.float32, SMALL)
        low = bilinear.bilinear_pool(e.astype(jnp.float32), r.astype(jnp.float32), single, 2, normalize)
        assert low.dtype == jnp.float32
        np.testing.assert_allclose(low, value, rtol=2e-5)


def scores(triples, rank, normalize=False):
    """Of the construction, in plain NumPy: outputs are sums over blocks, contracted with one-hot tails."""
    entities, relations, factors = bilinear.separating(triples, rank)
    u, v = (np.asarray(f).reshape(len(f), -1, rank) for f in factors)
    z = np.einsum("hi,rj,iok,jok->hro", entities, relations, u, v)
    if normalize:
        z = np.sign(z) * np.sqrt(np.abs(z) + 1e-12)
        z = z / np.sqrt((z**2).sum(axis=-1, keepdims=True) + 1e-12)
    return z @ entities.T


@pytest.fixture(scope="module")
def triple_sets():
    """Twenty random sets of all sizes up to five entities and three relations, and the full and the empty one."""
    rng = np.random.default_rng(5)
    sizes = [(rng.integers(2, 6), rng.integers(1, 4)) for _ in range(20)]
    drawn = [rng.random((e, r, e)) < rng.uniform(0.1, 0.9) for e, r in sizes]
    return [*drawn, np.ones((5, 3, 5), bool), np.zeros((2, 2, 2), bool)]


def test_the_construction_is_exact_on_every_set(triple_sets, x64):
    for true in triple_sets:
        rank = robust_bounds.full_rank(*true.shape[:2])
        np.testing.assert_array_equal(scores(true, rank), true)
        np.testing.assert_array_equal(scores(true, rank + 2), true)
        least = bilinear.truth_rank(true)
        assert 1 <= least <= rank
        np.testing.assert_allclose(scores(true, least), true, atol=1e-13)
        normal = scores(true, rank, normalize=True)
        # A true tail is one of at most E: its share of the unit vector is 1 / sqrt(number of true tails).
        assert (normal[true] >= true.shape[0] ** -0.5 - 1e-9).all()
        np.testing.assert_array_equal(normal[~true], 0)


def test_no_factors_of_less_rank_have_the_truth_as_scores(triple_sets):
    """Scores of a tail are a matrix of rank at most k: the nearest one is off by the singular values beyond."""
    deep = [true for true in triple_sets if bilinear.truth_rank(true) > 1]
    assert len(deep) >= 5
    for true in deep:
        needed = bilinear.truth_rank(true)
        singular = np.linalg.svd(np.moveaxis(true.astype(float), 2, 0), compute_uv=False)
        assert singular[:, needed - 1].max() > 1e-3
        with pytest.raises(ValueError, match=rf"rank must be >= {needed}, .* got {needed - 1}\."):
            bilinear.separating(true, needed - 1)


def test_scores_are_those_of_the_operator(triple_sets, x64):
    true = triple_sets[-2]
    entities, relations, factors = bilinear.separating(true)
    found = jax.jit(functools.partial(bilinear.scores, rank=3))(entities, relations, factors)
    np.testing.assert_array_equal(found, true)


def test_rank_one_with_identities_is_distmult(x64):
    rng = np.random.default_rng(0)
    e, r, t = rng.normal(size=(3, 4, 6))
    pooled = bilinear.bilinear_pool(e, r, Factors(np.eye(6), np.eye(6)), 1, normalize=False)
    np.testing.assert_allclose((pooled * t).sum(axis=-1), (e * r * t).sum(axis=-1), rtol=1e-14)


def test_the_module_draws_factors_of_its_sizes():
    module = bilinear.LowRankBilinear.create(prng.root_key(0), (3, 4), 5, rank=2)
    assert module.params.left.shape == (3, 10)
    assert module.params.right.shape == (4, 10)
    assert float(jnp.abs(module.params.right).max()) <= 1
    out = module(jnp.ones((2, 3)), jnp.ones((2, 4)))
    assert out.shape == (2, 5)
    np.testing.assert_allclose(jnp.linalg.norm(out, axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, r"rank must be an int >= 1, got 0\."),
        ({"rank": 3}, r"params\.left must have a multiple of rank = 3 columns, got 4\."),
        ({"e": np.ones(5)}, r"params\.left must have shape \(5, any\), got \(2, 4\)\."),
        ({"r": np.ones(2)}, r"params\.right must have shape \(2, any\), got \(3, 4\)\."),
        (
            {"params": Factors(SMALL.left, SMALL.right[:, :2])},
            r"params\.right must have shape \(any, 4\), got \(3, 2\)\.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, message):
    given = {"e": np.ones(2), "r": np.ones(3), "params": SMALL, "rank": 2} | change
    with pytest.raises(ValueError, match=message):
        bilinear.bilinear_pool(**given)


def test_triples_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"true must have shape \(E, R, E\), got \(2, 2, 3\)\."):
        bilinear.separating(np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match=r"true must be 0 or 1, got 0\.5 at index \(0, 0, 0\)"):
        bilinear.separating(np.full((2, 2, 2), 0.5))
