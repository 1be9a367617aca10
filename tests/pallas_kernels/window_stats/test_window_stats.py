"""What the tests of all kernels do not ask: every kind by XLA and by the kernel, worked values, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.window_stats import api, cases, kernel_tpu, window_stats, xla
from pallas_kernels.window_stats.rules import KINDS, PARAMETRIC

GRID = jnp.asarray([[-5, 2, 9, 0], [7, -2, 5, -4], [3, 10, 1, 8], [-1, 6, -3, 4]], jnp.float32)[None, :, :, None]
SIDE_BY_SIDE = {"window": (2, 2), "strides": (2, 2)}
OVER_THE_BORDER = {"window": (3, 2), "strides": (2, 1), "padding": ((1, 1), (0, 1))}


def variants():
    for kind in KINDS:
        yield pytest.param(kind, {}, id=kind)
    for kind in ("max", "mixed"):
        for ties in ("all", "split"):
            yield pytest.param(kind, {"ties": ties}, id=f"{kind}-{ties}")
    yield pytest.param("soft", {"straight": True}, id="soft-straight")
    yield pytest.param("avg", {"count_include_pad": True}, id="avg-with-padding")


def instance(kind, shape):
    """Numbers that bfloat16 has."""
    x = np.random.default_rng(0).normal(size=shape)
    x = np.round(x) if kind in ("max", "mixed") else x
    theta = jnp.asarray(np.linspace(1.5, 2.5, shape[-1]), jnp.float32) if kind in PARAMETRIC else None
    return jnp.asarray(x, jnp.bfloat16), theta


def value_and_slopes(kind, impl, extra, options=OVER_THE_BORDER, shape=(8, 5, 4, 2), dtype=jnp.float32):
    x, theta = instance(kind, shape)
    x = x.astype(dtype)

    def total(x, theta):
        y = window_stats(x, theta, kind=kind, impl=impl, **options, **extra)
        cotangent = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.bfloat16).astype(dtype)
        return jnp.sum((y * cotangent).astype(jnp.float32)), y

    wanted = 0 if theta is None else (0, 1)
    slopes, y = jax.jit(jax.grad(total, wanted, has_aux=True))(x, theta)
    return y, slopes


@pytest.mark.parametrize("impl", ["xla", pytest.param("pallas_interpret", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "extra"), list(variants()))
def test_every_kind_is_the_reference(kind, extra, impl):
    """Values and derivatives, in theta too; 1e-5 since a sum over all windows has as many roundings."""
    got, expected = value_and_slopes(kind, impl, extra), value_and_slopes(kind, "reference", extra)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


SIXTEEN = [
    ("soft", OVER_THE_BORDER),
    ("power", SIDE_BY_SIDE),
    ("max", OVER_THE_BORDER),
    ("avg", OVER_THE_BORDER),
    pytest.param("max", SIDE_BY_SIDE, marks=pytest.mark.slow),
    pytest.param("avg", SIDE_BY_SIDE, marks=pytest.mark.slow),
    pytest.param("soft", {"window": (3, 3), "strides": (2, 2)}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("impl", ["xla", "pallas_interpret"])
@pytest.mark.parametrize(("kind", "options"), SIXTEEN)
def test_sixteen_bits_are_float32_rounded(kind, options, impl):
    """Value and slopes of x are one rounding off, which may fall to the other side; theta's derivative is float32."""
    got = value_and_slopes(kind, impl, {}, options, (9, 5, 5, 3), jnp.bfloat16)
    expected = value_and_slopes(kind, "reference", {}, options, (9, 5, 5, 3))
    slopes = got[1] if kind in PARAMETRIC else (got[1],)
    assert [leaf.dtype for leaf in (got[0], *slopes)] == [jnp.bfloat16] * 2 + [jnp.float32] * (kind in PARAMETRIC)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        rounding = 2.0**-7 if ours.dtype == jnp.bfloat16 else 1e-5
        rounded = np.asarray(theirs.astype(ours.dtype), np.float32)
        np.testing.assert_allclose(np.asarray(ours, np.float32), rounded, rtol=rounding, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "options"), [("soft", OVER_THE_BORDER), ("max", SIDE_BY_SIDE)])
def test_images_side_by_side_in_a_register(kind, options, dtype):
    """64 channels of sixteen images fill the lanes of eight rows; theta's derivative adds up both halves."""
    shape = (16, 5, 4, 64)
    got = value_and_slopes(kind, "pallas_interpret", {}, options, shape, dtype)
    expected = value_and_slopes(kind, "reference", {}, options, shape)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        rounding = 2.0**-7 if ours.dtype == jnp.bfloat16 else 1e-5
        np.testing.assert_allclose(np.asarray(ours, np.float32), theirs, rtol=rounding, atol=1e-5)


SLOW = (pytest.param(name, marks=pytest.mark.slow) for name in ("left over", "overlapping"))


@pytest.mark.parametrize("case", ["far apart", *SLOW])
def test_a_gradient_in_steps_is_the_gradient_at_once(case):
    """Rows, windows and the derivative in theta that several steps of the grid share."""
    example = next(example for example in cases.examples() if example.name == case)
    x, theta = example.args
    y = example.call(x, theta, impl="xla")
    rng = np.random.default_rng(1)
    cotangent = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    options = dict(api.checked(x, theta, **example.call.options, ties="first", straight=False, count_include_pad=False))
    got = jax.jit(functools.partial(kernel_tpu.backward, **options, learned=True, rows=2, interpret=True))
    expected = jax.jit(functools.partial(xla.backward, **options, learned=True))
    for ours, theirs in zip(got(x, theta, cotangent), expected(x, theta, cotangent), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, float(jnp.max(jnp.abs(theirs)))))


@pytest.mark.parametrize(
    ("kind", "theta", "expected"),
    [
        ("max", None, [[7, 9], [10, 8]]),
        ("avg", None, [[0.5, 2.5], [4.5, 2.5]]),
        ("mixed", 0.3, [[2.45, 4.45], [6.15, 4.15]]),
        ("soft", 1.0, [[6.965363711, 8.926944609], [9.921677802, 7.921677802]]),
    ],
)
def test_worked_values(kind, theta, expected):
    theta = None if theta is None else jnp.full(1, theta)
    got = window_stats(GRID, theta, kind=kind, **SIDE_BY_SIDE)
    np.testing.assert_allclose(got[0, :, :, 0], jnp.asarray(expected), rtol=1e-6)


def test_exponentials_of_large_elements_do_not_overflow():
    """A window far below the image's largest element keeps its weights, and so do its derivatives."""
    x = jnp.concatenate([GRID - 1000, GRID + 1000], axis=3)
    options = {"kind": "soft", "window": (3, 3), "strides": (1, 1)}
    run = jax.jit(jax.value_and_grad(lambda x, theta: jnp.sum(window_stats(x, theta, **options))))
    value, slopes = run(x, jnp.ones(2))
    expected, of_grid = run(GRID, jnp.ones(1))
    np.testing.assert_allclose(value, 2 * expected, rtol=1e-5)
    # Numbers near 1000 are 6e-5 apart; a slope has some three such roundings for each of up to nine windows.
    np.testing.assert_allclose(slopes, jnp.concatenate([of_grid] * 2, axis=3), rtol=0, atol=2e-3)


def test_nan_stays_in_its_windows():
    x = jnp.tile(GRID, (1, 1, 1, 2)).at[0, 0, 1, 0].set(jnp.nan)
    run = functools.partial(window_stats, kind="soft", **SIDE_BY_SIDE)
    y, pull = jax.vjp(lambda x: run(x, jnp.ones(2)), x)
    (slopes,) = pull(jnp.ones_like(y))
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 0, 0]]
    assert np.argwhere(np.isnan(slopes)).tolist() == [[0, i, j, 0] for i in range(2) for j in range(2)]


def test_vmap_is_a_loop():
    x = jnp.stack([GRID, -GRID])
    run = functools.partial(window_stats, kind="max", **SIDE_BY_SIDE)
    np.testing.assert_array_equal(jax.vmap(run)(x), jnp.stack([run(GRID), run(-GRID)]))


def test_theta_that_is_held_is_not_differentiated():
    """The derivative in theta costs the kernel an output: only who asks for it pays."""
    x, theta = jnp.ones((8, 4, 4, 2)), jnp.ones(2)
    run = functools.partial(window_stats, kind="soft", **SIDE_BY_SIDE, impl="pallas_interpret")

    def outputs(wanted):
        jaxpr = jax.make_jaxpr(jax.grad(lambda x, theta: jnp.sum(run(x, theta)), wanted))(x, theta)
        return max(len(e.outvars) for e in jaxpr.eqns if e.primitive.name == "pallas_call")

    assert (outputs(0), outputs((0, 1))) == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": jnp.zeros((4, 4, 2))}, r"x must be floating \[B, H, W, C\] with no axis empty, got float32 \(4, 4, 2\)"),
        ({"x": jnp.zeros((1, 4, 4, 2), jnp.int32)}, r"x must be floating .*, got int32"),
        ({"kind": "median"}, "kind must be one of sum, avg, .*, got 'median'"),
        ({"kind": "soft"}, "theta must be an array for kind 'soft'"),
        ({"theta": jnp.ones(2)}, "theta must be None for kind 'avg'"),
        ({"kind": "lp", "theta": jnp.ones(3)}, r"theta must be float32 \(2,\), got float32 \(3,\)"),
        ({"ties": "last"}, "ties must be one of first, all, split, got 'last'"),
        ({"straight": True}, "straight must be False for kind 'avg'"),
        ({"window": (0, 2)}, r"window must be two numbers >= 1, got \(0, 2\)"),
        ({"strides": (2,)}, r"strides must be two numbers >= 1, got \(2,\)"),
        ({"padding": ((0, -1), (0, 0))}, r"padding must be two pairs of numbers >= 0, got \(\(0, -1\), \(0, 0\)\)"),
        ({"window": (5, 2)}, "window must fit the padded x, got 5 rows of a window for 4"),
        ({"padding": ((2, 0), (0, 0))}, "padding must leave an element to every window, got none in the rows of w.* 0"),
        ({"padding": ((0, 0), (0, 2))}, "padding must leave .*, got none in the columns of window 2"),
        ({"impl": "cuda"}, "impl must be None or one of"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"x": jnp.zeros((1, 4, 4, 2)), "kind": "avg"} | SIDE_BY_SIDE | change
    with pytest.raises(ValueError, match=message):
        window_stats(arguments.pop("x"), arguments.pop("theta", None), **arguments)


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (jnp.zeros((8, 4, 4, 2), jnp.float16), "x is float16, of which a TPU has no numbers: float32 or bfloat16"),
        (jnp.zeros((3, 4, 4, 2)), "B=3 images do not fill the 8 rows of a register"),
    ],
)
def test_the_kernel_says_what_it_cannot_serve(x, why):
    with pytest.raises(NotImplementedError, match=rf"window_stats\[pallas_interpret\]: {why}; use impl=None or 'xla'"):
        window_stats(x, kind="max", **SIDE_BY_SIDE, impl="pallas_interpret")
