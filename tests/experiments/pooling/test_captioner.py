"""Captions from visual tokens: who sees whom, what padding touches, which budgets a model takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.pooling import captioner
from research.core import prng

GRID, CHANNELS, LENGTH, VOCABULARY, WIDTH = 4, 3, 5, 7, 8
MODEL = captioner.Captioner(VOCABULARY, WIDTH, layers=2, heads=2, hidden=6)


@pytest.fixture(scope="module")
def given():
    """Weights with every leaf away from 0, features of two pictures, and captions of five and two tokens."""
    key = jax.random.key(0)
    features = jax.random.normal(prng.stream(key, "features"), (2, GRID, GRID, CHANNELS))
    captions = jnp.array([[3, 0, 6, 2, 1], [4, 5, -1, -1, -1]], jnp.int32)
    weights = MODEL.init(key, features, captions, 4)["params"]
    leaves, tree = jax.tree.flatten(weights)
    noise = [0.3 * jax.random.normal(jax.random.fold_in(key, i), leaf.shape) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, noise, strict=True)]), features, captions


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def logits(weights, features, captions, budget=4, dtype="float32", model=MODEL):
    return captioner.tell(model, weights, features, captions, budget, dtype)


def loss(weights, features, captions, model=MODEL):
    return captioner.sums(logits(weights, features, captions, 4, "float32", model), captions)["loss"].sum()


value_and_gradient = jax.jit(jax.value_and_grad(loss), static_argnums=3)


def test_a_caption_sees_the_picture_and_what_came_before(given):
    weights, features, captions = given
    before = np.asarray(logits(weights, features, captions))
    for place in range(LENGTH):
        after = np.asarray(logits(weights, features, captions.at[0, place].set(4)))
        np.testing.assert_array_equal(after[0, : place + 1], before[0, : place + 1])
        assert (after[0, place + 1 :] != before[0, place + 1 :]).any(axis=-1).all()
        np.testing.assert_array_equal(after[1], before[1])
    for corner in ((0, 0), (GRID - 1, GRID - 1)):
        after = np.asarray(logits(weights, features.at[0, *corner].add(1.0), captions))
        assert (after[0] != before[0]).any(axis=-1).all()
        np.testing.assert_array_equal(after[1], before[1])


def test_visual_tokens_see_each_other_and_no_caption():
    decoder = captioner.Decoder(layers=1, heads=2)
    mask = captioner.prefix_mask(4, 3)
    x = jax.random.normal(jax.random.key(1), (1, 7, WIDTH))
    weights = decoder.init(jax.random.key(2), x, mask)
    # [S, S]: whether what comes out at one place depends on what goes in at another.
    derivative = jax.jacobian(lambda x: decoder.apply(weights, x, mask)[0])(x)[:, :, 0]
    seen = np.abs(derivative).max(axis=(1, 3)) > 0
    expected = np.tril(np.ones((7, 7), bool))
    expected[:4, :4] = True
    np.testing.assert_array_equal(seen, expected)


def test_what_is_behind_a_caption_s_end_touches_nothing(given):
    """Neither loss nor gradient, to the bit: not what stands for absence, nor the positions there."""
    weights, features, captions = given
    short = captions.at[0, 2:].set(-1)
    value, gradient = value_and_gradient(weights, features, short)
    again = value_and_gradient(weights, features, jnp.where(short < 0, -9, short))
    far = weights | {"positions": weights["positions"].at[3:].set(1e3)}
    moved = value_and_gradient(far, features, short)
    for other in (again, moved):
        jax.tree.map(np.testing.assert_array_equal, (value, gradient), other)
    # The token at place 1 is told from position 1; nothing is told from positions 2, 3 and 4.
    np.testing.assert_array_equal(gradient["positions"][2:], 0)
    assert np.abs(gradient["positions"][:2]).min() > 0


def test_a_caption_without_a_token_counts_for_nothing(given):
    weights, features, captions = given
    found = captioner.sums(logits(weights, features, captions), captions.at[1].set(-1))
    assert found["loss"][1] == found["correct"][1] == 0
    gradient = jax.grad(lambda x: loss(weights, x, captions.at[1].set(-1)))(features)
    np.testing.assert_array_equal(gradient[1], 0)
    assert np.abs(gradient[0]).min() > 0


def test_sums_are_those_of_the_told_tokens(given):
    weights, features, captions = given
    given_logits = logits(weights, features, captions)
    found = captioner.sums(given_logits, captions)
    shares = np.asarray(jax.nn.log_softmax(given_logits))
    for row, count in enumerate((5, 2)):
        told = [shares[row, place, captions[row, place]] for place in range(count)]
        np.testing.assert_allclose(found["loss"][row], -np.sum(told), rtol=1e-5)
        right = np.argmax(shares[row, :count], axis=-1) == np.asarray(captions)[row, :count]
        assert found["correct"][row] == right.sum()


@pytest.mark.parametrize("budget", [1, 9, 16])
def test_weights_of_one_budget_serve_any_other(given, budget):
    found = logits(*given, budget)
    assert found.shape == (2, LENGTH, VOCABULARY)
    assert np.isfinite(found).all()
    assert np.abs(found - logits(*given, 4)).max() > 1e-3


@pytest.mark.parametrize("side", [1, 2])
def test_a_budget_sees_the_means_of_its_bins_and_nothing_else(given, side):
    weights, features, captions = given

    def blurred(grid):
        bins = grid.reshape(*grid.shape[:-3], side, GRID // side, side, GRID // side, grid.shape[-1])
        return jnp.broadcast_to(bins.mean(axis=(-4, -2), keepdims=True), bins.shape).reshape(grid.shape)

    other = weights | {"places": blurred(weights["places"])}, blurred(features), captions
    np.testing.assert_allclose(logits(*other, side**2), logits(*given, side**2), rtol=1e-4, atol=1e-4)
    assert np.abs(logits(*other, GRID**2) - logits(*given, GRID**2)).max() > 1e-2


def test_a_budget_that_is_no_square_is_refused(given):
    with pytest.raises(ValueError, match="budget must be the square of a number >= 1, got 5"):
        logits(*given, 5)


def test_half_precision_is_close_and_its_logits_are_float32(given):
    narrow = logits(*given, 4, "bfloat16")
    assert narrow.dtype == jnp.float32
    wide = logits(*given)
    # bfloat16 keeps 8 bits: some ten roundings of 0.4 % of numbers of about the logits' size.
    assert np.abs(narrow - wide).max() < 0.05 * np.abs(wide).max()


def test_remat_changes_no_value(given):
    one, two = (value_and_gradient(*given, MODEL.clone(remat=remat)) for remat in (False, True))
    # Sums of at most a hundred float32 products of numbers of order one.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), one, two)


def test_norms_biases_positions_and_embeddings_do_not_decay(given):
    named = jax.tree_util.tree_leaves_with_path(captioner.decays(given[0]))
    kept = {path[-1].key for path, decays in named if not decays}
    assert kept == {"bias", "scale", "places", "positions", "embedding"}
    assert {path[-1].key for path, decays in named if decays} == {"kernel", "value", "gate", "project"}
