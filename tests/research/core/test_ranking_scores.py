"""Areas under curves: equal to scikit-learn's, ties and unknown labels included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from research.core import ranking

OURS = {"roc_auc": jax.jit(ranking.roc_auc), "average_precision": jax.jit(ranking.average_precision)}
THEIRS = {"roc_auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("levels", [0, 1, 2, 7, 300])
@pytest.mark.parametrize("size", [2, 9, 1000])
def test_equal_to_sklearn(name, levels, size):
    rng = np.random.default_rng(levels + size)
    scores = rng.standard_normal(size) if levels == 0 else rng.integers(0, levels, size) - levels // 2
    labels, known = rng.random(size) < 0.3, rng.random(size) < 0.7
    labels[:2], known[:2] = (True, False), True
    scores = scores.astype(np.float32)
    expected = THEIRS[name](labels[known], scores[known])
    spoiled = np.where(known, scores, rng.choice([np.nan, np.inf, 0.0], size)).astype(np.float32)
    np.testing.assert_allclose(OURS[name](spoiled, labels.astype(np.uint8), known), expected, rtol=1e-5)


def test_many_pairs_do_not_overflow():
    """70,000 examples make over 2^31 half pairs."""
    labels = np.arange(70_000) % 2
    scores = np.random.default_rng(0).standard_normal(70_000).astype(np.float32)
    known = np.ones(70_000, bool)
    for name, ours in OURS.items():
        np.testing.assert_allclose(ours(scores, labels, known), THEIRS[name](labels, scores), rtol=1e-5)


def test_zeros_of_either_sign_and_infinities_have_their_places():
    scores = np.array([0.0, -0.0, np.inf, -np.inf], np.float32)
    labels, known = np.array([1, 0, 1, 0]), np.ones(4, bool)
    assert ranking.roc_auc(scores, labels, known) == (0.5 + 1 + 1 + 1) / 4
    assert ranking.average_precision(scores, labels, known) == pytest.approx((1 + 2 / 3) / 2)


def test_what_is_undefined_is_nan():
    scores, known = np.zeros(3, np.float32), np.ones(3, bool)
    assert np.isnan(ranking.roc_auc(scores, np.ones(3), known))
    assert np.isnan(ranking.roc_auc(scores, np.zeros(3), known))
    assert np.isnan(ranking.average_precision(scores, np.zeros(3), known))
    wrong = np.array([0.0, np.nan, 1.0], np.float32)
    for ours in OURS.values():
        assert np.isnan(ours(wrong, np.array([0, 1, 1]), known))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"labels must have shape \(3\), got \(2,\)"):
        ranking.roc_auc(jnp.zeros(3), jnp.zeros(2), jnp.ones(3, bool))
    with pytest.raises(ValueError, match=r"known must hold booleans"):
        ranking.roc_auc(jnp.zeros(3), jnp.zeros(3), jnp.ones(3))
