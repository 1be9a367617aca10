"""Adaptive bins, the pyramid, prompts and budgets: worked values, NumPy's answer, lengths for every size."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import adaptive, prompt, token_budgets

X = np.array([[-5, 2, 9, 0], [7, -2, 5, -4], [3, 10, 1, 8], [-1, 6, -3, 4]], float)[None, :, :, None]
PRECISIONS = pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-6), (np.float32, 2e-5)])


def by_hand(x, sizes, reduce):
    """The pool over boxes of bins, box by box."""
    out = np.empty((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    for at in np.ndindex(*sizes):
        ends = [(i * n // o, -(-(i + 1) * n // o)) for i, n, o in zip(at, x.shape[1:-1], sizes, strict=True)]
        box = x[(slice(None), *(slice(a, b) for a, b in ends))]
        out[(slice(None), *at)] = reduce(box, axis=tuple(range(1, x.ndim - 1)))
    return out


@PRECISIONS
def test_worked_values(dtype, rtol, x64):
    x = jnp.asarray(X, dtype)
    thirds = [[0.5, 3.5, 2.5], [4.5, 3.5, 2.5], [4.5, 3.5, 2.5]]
    np.testing.assert_allclose(adaptive.adaptive_pool(x, 3)[0, ..., 0], thirds, rtol=rtol)
    pyramid = [7, 9, 9, 10, 10, 8, 10, 10, 8, 7, 9, 10, 8, 10]
    np.testing.assert_allclose(adaptive.spatial_pyramid(x, (3, 2, 1))[0], pyramid, rtol=rtol)
    scores = jnp.arange(16, dtype=dtype).reshape(1, 4, 4) / 100
    guided = [[0.830329252, 1.880436672], [4.280103672, 2.280103672]]
    found = prompt.prompt_pool(x, scores, out=(2, 2), temperature=0.1)
    np.testing.assert_allclose(found[0, ..., 0], guided, rtol=rtol)
    assert adaptive.adaptive_bins(7, 3) == ((0, 2, 4), (3, 5, 7))
    assert adaptive.adaptive_bins(2, 4) == ((0, 0, 1, 1), (1, 1, 2, 2))


def test_bins_cover_and_the_pyramid_has_one_length():
    """T18, sizes 1 to 64: no bin is empty, none is missing, neighbours share one element at most."""
    levels = (6, 3, 2, 1)
    for n in range(1, 65):
        for out in (*levels, 5, 16, 70):
            bins = adaptive.adaptive_bins(n, out)
            start, stop = np.array(bins.start), np.array(bins.stop)
            assert len(start) == out
            assert (stop > start).all()
            assert (start[0], stop[-1]) == (0, n)
            assert ((start[1:] <= stop[:-1]) & (start[1:] >= stop[:-1] - 1)).all()
    length = adaptive.pyramid_length(levels, 2, 3)
    assert length == 150
    for n in (1, 2, 5, 13, 64):
        x = jax.ShapeDtypeStruct((2, n, 65 - n, 3), jnp.float32)
        assert jax.eval_shape(lambda x: adaptive.spatial_pyramid(x, levels), x).shape == (2, length)


def test_windows_give_a_level_for_some_sizes_only():
    missing = [(5, 3), (6, 4), (7, 4), (11, 4), (8, 6), (9, 6), (10, 6), (11, 6)]
    assert all(adaptive.window_level(n, out) is None for n, out in missing)
    assert adaptive.window_level(13, 6) is not None
    x = jnp.zeros((1, 13, 13, 2))
    assert adaptive.spatial_pyramid(x, (6, 3, 2, 1), mode="window").shape == (1, 100)
    for n in range(1, 40):
        for out in range(1, n + 1):
            bins = adaptive.window_level(n, out)
            assert bins is None or (len(bins.start) == out and max(bins.stop) <= n)


def test_pools_equal_numpy(x64):
    """Bins that tile, that overlap evenly, unevenly, and that repeat; maps, sequences and volumes."""
    rng = np.random.default_rng(0)
    cases = [((2, 6, 4, 3), (3, 2)), ((2, 7, 5, 3), (3, 2)), ((1, 3, 2, 2), (5, 4)), ((2, 9, 2), (4,)),
             ((1, 4, 5, 3, 2), (3, 2, 2))]  # fmt: skip
    kinds = (("avg", np.mean), ("max", np.max), ("sum", np.sum))
    given = [rng.normal(size=shape) for shape, _ in cases]

    @jax.jit
    def pools(given):
        soft = adaptive.adaptive_pool(given[1], cases[1][1], "soft", params={"beta": 2.0})
        return [
            [adaptive.adaptive_pool(x, out, kind) for kind, _ in kinds]
            for x, (_, out) in zip(given, cases, strict=True)
        ], soft

    found, soft = pools(given)
    for x, (_, out), values in zip(given, cases, found, strict=True):
        for value, (_, reduce) in zip(values, kinds, strict=True):
            np.testing.assert_allclose(value, by_hand(x, out, reduce), rtol=1e-12, atol=1e-14)
    weigh = lambda box, axis: np.sum(box * np.exp(2 * box), axis) / np.sum(np.exp(2 * box), axis)  # noqa: E731
    np.testing.assert_allclose(soft, by_hand(given[1], cases[1][1], weigh), rtol=1e-12)


def test_the_first_level_is_the_global_pool():
    x = jax.random.normal(jax.random.key(1), (2, 5, 7, 3))
    np.testing.assert_array_equal(adaptive.spatial_pyramid(x, (4, 1))[:, -3:], x.max(axis=(1, 2)))


def test_equal_scores_average_and_sure_scores_select(x64):
    x = np.random.default_rng(2).normal(size=(2, 4, 6, 3))
    sure = np.zeros((2, 4, 6))
    sure[:, ::2, ::2] = 1000

    @jax.jit
    def pools(x, sure):
        flat = prompt.prompt_pool(x, jnp.full((2, 4, 6), 0.3), out=(2, 3))
        return flat, prompt.prompt_pool(x, sure, kernel=2), prompt.prompt_pool(x, sure, kernel=3, stride=2)

    flat, selected, overlapping = pools(jnp.asarray(x), jnp.asarray(sure))
    np.testing.assert_allclose(flat, by_hand(x, (2, 3), np.mean), rtol=1e-12)
    np.testing.assert_allclose(selected, x[:, ::2, ::2], rtol=1e-12)
    assert overlapping.shape == (2, 1, 2, 3)  # the last column belongs to no window


def test_scores_are_a_softmax_of_cosines(x64):
    rng = np.random.default_rng(4)
    tokens, text = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 5))
    cosine = np.einsum("bhwd,bd->bhw", tokens, text)
    cosine /= np.linalg.norm(tokens, axis=-1) * np.linalg.norm(text, axis=-1)[:, None, None]
    expected = np.exp(7 * cosine) / np.exp(7 * cosine).sum(axis=(1, 2), keepdims=True)
    found = prompt.prompt_scores(jnp.asarray(tokens), jnp.asarray(text), 7.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_published_token_pools():
    for model, shape in (
        ("video_gpt_plus_frame", (16, 16)),
        ("video_gpt_plus_image", (24, 24)),
        ("pllava", (20, 24, 24)),
    ):
        x = jax.ShapeDtypeStruct((2, *shape, 4), jnp.float32)
        found = jax.eval_shape(lambda x, model=model: token_budgets.pool_tokens(x, model), x)
        assert found.shape == (2, *token_budgets.SHAPES[model], 4)


def test_budgets_of_one_model(x64):
    model = token_budgets.TokenFlex.create(jax.random.key(0), 3, 4, 2)
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 3))
    found = jax.jit(lambda model, x: [model(x, budget) for budget in (1, 4, 16)])(model, jnp.asarray(x))
    value, gate, project = (np.asarray(leaf) for leaf in (model.value, model.gate, model.project))
    for side, tokens in zip((1, 2, 4), found, strict=True):
        pooled = by_hand(x, (side, side), np.mean).reshape(2, side * side, 3)
        swish = (pooled @ gate) / (1 + np.exp(-(pooled @ gate)))
        np.testing.assert_allclose(tokens, (pooled @ value * swish) @ project, rtol=1e-9, atol=1e-12)
    draw = jax.jit(jax.vmap(lambda step: token_budgets.draw_budget(jax.random.key(2), step)))
    counts = np.bincount(draw(jnp.arange(3000)), minlength=3)
    # Binomial(3000, 1/3): deviation 25.8; six of them, a false alarm below 1e-8; the seed is fixed.
    assert (np.abs(counts - 1000) < 155).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: adaptive.adaptive_pool(x, 0), "out must be >= 1 along every axis, got 0."),
        (lambda x: adaptive.adaptive_pool(x, (2, 2, 2)), "out must have one number for each of the 2 axes of x"),
        (lambda x: adaptive.adaptive_pool(x, 2, "median"), "kind must be one of"),
        (lambda x: adaptive.spatial_pyramid(x, (4,), mode="window"), "levels must give 4 windows along axes of (6, 6)"),
        (lambda x: adaptive.spatial_pyramid(x, (1, 0)), "levels must be one or more numbers >= 1, got (1, 0)."),
        (lambda x: adaptive.spatial_pyramid(x, mode="best"), "mode must be one of 'bins', 'window', got 'best'."),
        (lambda x: prompt.prompt_pool(x, x[..., 0]), "out, kernel must be given one without the other"),
        (lambda x: prompt.prompt_pool(x, x, out=2), "scores must have shape (1, 6, 6), got (1, 6, 6, 2)."),
        (lambda x: prompt.prompt_pool(x, x[..., 0], out=7), "out must be at most the number of tokens (6, 6)"),
        (lambda x: prompt.prompt_pool(x, x[..., 0], out=2, temperature=0.0), "temperature must be positive"),
        (lambda x: token_budgets.pool_tokens(x, "llava"), "model must be one of"),
        (lambda x: token_budgets.TokenFlex(x[0, 0], x[0, 0], x[0, 0])(x, 10), "budget must be the square"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call(jnp.ones((1, 6, 6, 2)))
