"""The path of CPUs against the reference, to the bit: ties, infinities, both zeros, blocks that overlap; bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.topk_route import topk_route

#: Tokens that no block divides; experts in one piece, in padded pieces, and through pairs of neighbours.
SHAPES = {"pieces": (300, 64, 8, True), "padded": (1100, 45, 3, False), "pairs": (150, 256, 5, True)}


def instance(shape, kind, dtype):
    tokens, num_experts, _, _ = SHAPES[shape]
    rng = np.random.default_rng(0)
    scores, bias = rng.normal(size=(tokens, num_experts)), rng.normal(size=num_experts)
    if kind == "ties":
        scores, bias = np.round(scores), np.zeros(num_experts)
        scores[::2] *= -1  # zeros of either sign
    if kind == "infinite":
        scores[:, ::3] = -np.inf
        scores[0], scores[1, 5] = -np.inf, np.inf
    return jnp.asarray(scores, dtype), jnp.asarray(bias, dtype), jnp.asarray(rng.random(tokens) < 0.8)


@functools.cache
def compiled(shape, impl):
    _, _, k, threshold = SHAPES[shape]
    return jax.jit(lambda s, b, v: topk_route(s, b, k, threshold=threshold, valid=v, impl=impl))


def check(shape, kind, dtype):
    args = instance(shape, kind, dtype)
    got, expected = compiled(shape, "xla")(*args), compiled(shape, "reference")(*args)
    for name, ours, theirs in zip(got._fields, got, expected, strict=True):
        if theirs is not None:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
            assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("kind", ["normal", "ties", "infinite"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_path_of_cpus_is_the_reference(shape, kind):
    check(shape, kind, jnp.float32)


@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_the_path_of_cpus_is_the_reference_in_double_precision(x64, kind):
    check("pieces", kind, jnp.float64)


def test_the_lowest_expert_comes_first_of_equals():
    found = topk_route(jnp.asarray([[0.5, 0.5, 0.4], [0.2, 0.2, 0.2]]), jnp.zeros(3), 2)
    np.testing.assert_array_equal(found.index, [[0, 1], [0, 1]])
    found = topk_route(jnp.asarray([[0.5, 0.5, 0.4]]), jnp.asarray([0.0, 0.0, 0.2]), 2)
    np.testing.assert_array_equal(found.index, [[2, 0]])
    np.testing.assert_array_equal(found.score, jnp.asarray([[0.4, 0.5]]))


def test_vmap_is_a_loop():
    scores, bias, _ = instance("pieces", "normal", jnp.float32)
    many = jnp.stack([scores, -scores])
    got = jax.vmap(lambda s: topk_route(s, bias, 8))(many)
    for lane in range(2):
        expected = compiled("pieces", "reference")(many[lane], bias, jnp.ones(scores.shape[0], bool))
        for name in ("index", "score", "load"):
            np.testing.assert_array_equal(getattr(got, name)[lane], getattr(expected, name))


def test_gradients_reach_the_scores_that_were_taken_and_nothing_else():
    scores, bias, valid = instance("pieces", "normal", jnp.float32)
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(scores.shape[0], 8)), jnp.float32)

    def total(scores, bias):
        found = topk_route(scores, bias, 8, threshold=True, valid=valid)
        return jnp.sum(weight * found.score) + jnp.sum(found.threshold)

    of_scores, of_bias = jax.grad(total, (0, 1))(scores, bias)
    index = np.asarray(topk_route(scores, bias, 8, valid=valid).index)
    expected = np.zeros((scores.shape[0], 65), np.float32)
    np.put_along_axis(expected, index, np.asarray(weight), axis=1)
    np.testing.assert_array_equal(of_scores, expected[:, :64])
    np.testing.assert_array_equal(of_bias, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, r"k must lie in \[1, 4\], got 0"),
        ({"k": 4, "threshold": True}, r"k must lie in \[1, 3\] with threshold, got 4"),
        ({"bias": jnp.zeros(3)}, r"bias must be float32 \(4,\)"),
        ({"scores": jnp.zeros((6, 4), jnp.int32)}, "scores must be float32 or float64"),
        ({"scores": jnp.zeros((0, 4))}, "scores must have at least one token"),
        ({"valid": jnp.ones(6)}, r"valid must be bool \(6,\), got float32"),
        ({"impl": "cuda"}, "impl must be None or one of"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"scores": jnp.zeros((6, 4)), "bias": jnp.zeros(4), "k": 2} | change
    with pytest.raises(ValueError, match=message):
        topk_route(**arguments)
