"""PoNet's mixer: the worked example W12, segments, what padding cannot do, and its attention baseline."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import ponet

PARTS = (
    [(0.1, -0.1), (0.6, 0.1), (-0.5, 0.4), (1.3, 0.9), (-0.7, -1.3), (-0.6, 0)],
    [(-2.3, -0.2), (-1.2, -0.7), (-0.5, -0.3), (0.4, 1), (-0.1, 1.4), (-0.7, 0.4)],
    [(0.9, 0.1), (-0.7, -0.9), (-0.5, 0.2), (-1, -0.2), (-0.2, 0.5), (0.2, 0.4)],
    [(-0.7, -0.1), (0.8, 1.5), (-1.3, 1.5), (1.3, 0.8), (0.3, -0.3), (1.5, 2)],
    [(1.8, 1.3), (0.4, -1.2), (0, 0.7), (-1.3, 0.4), (0.4, 0.7), (-1.2, -0.7)],
)
MASK = np.arange(6)[None] < 5
MIXED = [
    (1.841235059, 1.659881901), (-0.00984949, 0.061062888), (0.721536078, 1.819763803), (0.143072157, 1.180236197),
    (1.348614431, 1.299409507), (0, 0),
]  # fmt: skip
IDS = np.array([[0, 0, 0, 0, 1, 1]])


def check_worked_example(dtype, rtol):
    """With two segments, and with the ids of these two."""

    @jax.jit
    def measured(parts):
        return ponet.ponet_mix(*parts, MASK, segments=2), ponet.ponet_mix(*parts, MASK, segments=jnp.asarray(IDS))

    for found in measured([jnp.asarray(part, dtype)[None] for part in PARTS]):
        np.testing.assert_allclose(found[0], MIXED, rtol=rtol, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_worked_example():
    # Nine digits are printed, and one entry is below 0.01: 5e-10 of it.
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


def test_segments_have_the_lengths_of_the_release():
    assert ponet.segment_length(10, 4) == 3
    x = np.arange(10, dtype=np.float32)[None, :, None]
    found = jax.jit(lambda x: ponet.segment_max(x, jnp.ones((1, 10), bool), 4))(x)
    np.testing.assert_array_equal(found[0, :, 0], [2, 2, 2, 5, 5, 5, 8, 8, 8, 9])


@pytest.fixture(scope="module")
def drawn():
    generator = np.random.default_rng(0)
    parts = generator.normal(size=(5, 3, 16, 4)).astype(np.float32)
    return parts, generator.random((3, 16)) < 0.7


def test_entries_below_any_fill_are_still_the_largest(drawn):
    """The release's -1e4 of a padded neighbour would win here; half of all numbers of float32 are smaller."""
    parts, mask = drawn
    shifted = parts.copy()
    shifted[3:] -= 1e6
    mix = jax.jit(lambda *args: ponet.ponet_mix(*args, heads=2, segments=4))
    low, high = mix(*shifted, mask), mix(*parts, mask)
    # Maxima move by the shift: the segment's term times O, and the local one.
    np.testing.assert_allclose(low, np.where(mask[..., None], high - 1e6 * (parts[2] + 1), 0), rtol=1e-5, atol=1.0)


def test_heads_do_not_see_each_other(drawn):
    parts, mask = drawn
    whole = jax.jit(lambda *args: ponet.ponet_mix(*args, heads=2, segments=4))(*parts, mask)
    half = jax.jit(lambda *args: ponet.ponet_mix(*args, heads=1, segments=4))
    for head in range(2):
        np.testing.assert_allclose(
            whole[..., 2 * head : 2 * head + 2], half(*parts[..., 2 * head : 2 * head + 2], mask), rtol=1e-5, atol=1e-6
        )


def test_attention_in_blocks_is_attention(drawn):
    (q, k, v, *_), mask = drawn
    mix = jax.jit(lambda q, k, v, mask: ponet.attention_mix(q, k, v, mask, heads=2, block=4))
    found = mix(q, k, v, mask)
    q, k, v = (a.reshape(3, 16, 2, 2).astype(np.float64) for a in (q, k, v))
    weights = np.exp(np.einsum("bqhd,bthd->bhqt", q, k) / np.sqrt(2)) * mask[:, None, None]
    expected = np.einsum("bhqt,bthd->bqhd", weights / weights.sum(axis=-1, keepdims=True), v).reshape(3, 16, 4)
    np.testing.assert_allclose(found, np.where(mask[..., None], expected, 0), rtol=1e-5, atol=1e-6)


X = np.ones((2, 6, 4), np.float32)
ALL = np.ones((2, 6), bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ponet.ponet_mix(*[X] * 5, ALL, heads=3), "heads must be >= 1 and divide 4 channels, got 3"),
        (lambda: ponet.ponet_mix(X, X[:, :5], X, X, X, ALL), r"k must have shape \(2, 6, 4\), got \(2, 5, 4\)"),
        (lambda: ponet.ponet_mix(*[X] * 5, X[..., 0]), "mask must be boolean, got float32"),
        (lambda: ponet.ponet_mix(*[X] * 5, ALL, segments=0), "segments must be >= 1, got 0"),
        (lambda: ponet.ponet_mix(*[X] * 5, ALL, segments=X[..., 0]), "segments must be integers, got float32"),
        (lambda: ponet.attention_mix(X, X, X, ALL, block=4), "block must divide 6 tokens, got 4"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
