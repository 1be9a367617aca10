"""What the tests of all kernels do not ask: the draws themselves, pieces of families, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtri

from pallas_kernels._threefry import threefry_2x32
from pallas_kernels.nested_leaf import cases, kernel_tpu, nested_leaf, variates

TAG = 0x30000000


def test_normals_are_quantiles_of_their_words():
    """Against SciPy in float64, at both ends, in the middle and at random; what the module says of its polynomial."""
    ends = np.arange(4096, dtype=np.uint32)
    random = np.random.default_rng(0).integers(1 << 23, size=1 << 16).astype(np.uint32)
    whole = np.concatenate([ends, (1 << 23) - 1 - ends, (1 << 22) - 2048 + ends, random])
    upper = whole >= 1 << 22
    below = np.where(upper, (1 << 23) - 1 - whole, whole).astype(np.float64)
    exact = np.where(upper, -1, 1) * ndtri((below + 0.5) * 2.0**-23)
    got = np.asarray(jax.jit(variates.normal)(jnp.asarray(whole << 9)), np.float64)
    np.testing.assert_allclose(got, exact, rtol=6e-7)
    assert np.max(np.abs(got - exact)) <= 1.6e-6


@pytest.mark.parametrize(("word", "value"), [(0, 2.0**-24), (0xFFFFFFFF, 1 - 2.0**-24), (0x80000000, 0.5 + 2.0**-24)])
def test_uniforms_are_inside_the_unit_interval(word, value):
    assert float(variates.uniform(jnp.uint32(word))) == value


def words_of(keys, c, number):
    found = []
    for q in range(-(-number // 2)):
        counter = jnp.full(keys.shape[1], c, jnp.uint32), jnp.full(keys.shape[1], TAG + q, jnp.uint32)
        found += [np.asarray(word) for word in threefry_2x32((keys[0], keys[1]), counter)]
    return found[:number]


@pytest.fixture(scope="module")
def run():
    """Three variates that a leaf hands on as they are."""

    def leaf(constants, state, u):
        return tuple(constants[0] * value + state[0] for value in u)

    options = {"leaf": leaf, "kinds": ("uniform", "normal", "uniform"), "tag": TAG, "most": 8}
    return jax.jit(functools.partial(nested_leaf, **options))


def args(lanes, count, first):
    rng = np.random.default_rng(1)
    keys = jnp.asarray(rng.integers(1 << 32, size=(2, lanes)), jnp.uint32)
    state = jnp.asarray(rng.normal(size=(1, lanes)), jnp.float32)
    return keys, jnp.asarray(first, jnp.uint32), jnp.asarray(count, jnp.int32), state, jnp.ones(1, jnp.float32)


def test_sums_are_those_of_the_children_of_each_half(run):
    """Word by word against float64: which child draws what, and which half it is in."""
    given = args(6, [5, 2], [[0] * 3 + [10] * 3, [3] * 3 + [11] * 3])
    got = np.asarray(run(*given))
    keys, state = given[0], np.asarray(given[3][0], np.float64)
    for lanes, halves in ((slice(0, 3), ((0, 1, 2), (3, 4))), (slice(3, 6), ((10,), (11,)))):
        for half, children in enumerate(halves):
            expected = np.zeros((3, 3))
            for c in children:
                u = [((word >> 9) + 0.5) * 2.0**-23 for word in words_of(keys[:, lanes], c, 3)]
                expected += np.stack([u[0], ndtri(u[1]), u[2]]) + state[lanes]
            np.testing.assert_allclose(got[half, :, lanes], expected, rtol=0, atol=1e-5)


def test_pieces_of_a_family_add_up_to_it(run):
    """Eight children in one lane, and in four lanes of two each, under one key."""
    whole = args(4, [8], [[0] * 4, [4] * 4])
    pieces = args(4, [2], [[0, 1, 2, 3], [4, 5, 6, 7]])
    one = [x[:, :1] if x.ndim == 2 and i in (0, 3) else x for i, x in enumerate(whole)]
    keys, state = (jnp.repeat(x, 4, axis=1) for x in (one[0], one[3]))
    a = run(keys, whole[1], whole[2], state, whole[4])
    b = run(keys, pieces[1], pieces[2], state, pieces[4])
    np.testing.assert_allclose(np.asarray(a)[..., 0], np.asarray(b).sum(axis=-1), rtol=2e-6, atol=1e-6)


GOOD = cases.examples()[0].args
OPTIONS = {"leaf": lambda c, s, u: (s[0] + u[0],), "kinds": ("normal",), "tag": TAG, "most": 17}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": jnp.ones(3, jnp.int32)}, r"words must be uint32 \(2, N\), N >= 1 a multiple of the 3 tiles"),
        ({"count": jnp.ones(4)}, r"count must be int32 \[T\], T >= 1, got float32 \(4,\)"),
        ({"first": jnp.zeros((2, 8), jnp.uint32)}, r"first must be uint32 \(2, 4096\)"),
        ({"state": jnp.zeros((0, 4096))}, r"state must be float32 \(S, 4096\), S >= 1"),
        ({"constants": jnp.zeros(2, jnp.int32)}, r"constants must be float32 \(K,\), got int32"),
        ({"kinds": ("cauchy",)}, r"kinds must be one or more of normal, uniform, got \('cauchy',\)"),
        ({"tag": 1 << 32}, r"tag must lie in \[0, 2\*\*32 - 1\), got 4294967296"),
        ({"most": 0}, r"most must be >= 1, got 0"),
        ({"leaf": lambda c, s, u: s[0]}, r"leaf must return a tuple of arrays"),
        ({"leaf": lambda c, s, u: (jnp.sum(s[0]),)}, r"leaf must return float32 arrays of the lanes' shape"),
        ({"impl": "triton"}, r"impl must be None or one of"),
    ],
)
def test_bad_input_is_named(change, message):
    names = dict(zip(("words", "first", "count", "state", "constants"), GOOD, strict=True))
    with pytest.raises(ValueError, match=message):
        nested_leaf(**(names | OPTIONS | change))


def test_the_kernel_says_what_it_cannot_serve():
    own = jnp.arange(2.0)
    for leaf, lanes, why in (
        (OPTIONS["leaf"], 1000, "tiles of 250 lanes are not a multiple of 1024"),
        (lambda c, s, u: (s[0] + own[0] * u[0],), 4096, "leaf holds 1 arrays of its own"),
        (lambda c, s, u: (s[0] + jnp.sum(u[0], axis=-1, keepdims=True),), 4096, "leaf is not elementwise"),
    ):
        words, first, count, state, constants = GOOD
        given = words[:, :lanes], first[:, :lanes], count, state[:, :lanes], constants
        assert kernel_tpu.unsupported(*given, leaf=leaf, kinds=("normal",)).startswith(why)
        with pytest.raises(NotImplementedError, match=r"nested_leaf\[pallas_interpret\]: .*use impl=None or 'xla'"):
            nested_leaf(*given, **(OPTIONS | {"leaf": leaf}), impl="pallas_interpret")
