"""Windows: worked numbers, an oracle in NumPy loops, the theorems of window_bounds, ties, specials, bad input."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import choices, geometry, power, window_bounds
from research.pooling.windows import KINDS, window_pool

MAP = np.array([[-5, 2, 9, 0], [7, -2, 5, -4], [3, 10, 1, 8], [-1, 6, -3, 4]], float)[None, :, :, None]
LINE = np.array([1.0, 2.0, -1.0, 0.5])[None, :, None]
POSITIVE = np.array([1.0, 2.0, 4.0, 8.0])[None, :, None]

WORKED = [
    (LINE, ("soft", 4), {}, 1.480779123),
    (LINE, ("soft", 4), {"beta": 10.0}, 1.999954143),
    (LINE, ("lme", 4), {}, 1.108887537),
    (LINE, ("lme", 4), {"tau": 0.1}, 1.861375134),
    (LINE, ("lse", 4), {}, 2.495181898),
    (POSITIVE, ("power", 4), {"p": -math.inf}, 1.0),
    (POSITIVE, ("power", 4), {"p": -1}, 2.133333333),
    (POSITIVE, ("power", 4), {"p": 0}, 2.828427125),
    (POSITIVE, ("power", 4), {"p": 1}, 3.75),
    (POSITIVE, ("power", 4), {"p": 2}, 4.609772229),
    (POSITIVE, ("power", 4), {"p": 3}, 5.268641215),
    (POSITIVE, ("power", 4), {"p": 100}, 7.889861636),
    (POSITIVE, ("power", 4), {"p": math.inf}, 8.0),
    (POSITIVE, ("gnp", 4), {"p": 1, "q": 0, "eps": 0}, 15.0),
    (POSITIVE, ("gnp", 4), {"p": 2, "q": 0.5, "eps": 0}, 4.609772229),
    (POSITIVE, ("gnp", 4), {"p": -1, "q": -1, "eps": 0}, 2.133333333),
    (MAP, ("max", 2), {}, [[7, 9], [10, 8]]),
    (MAP, ("avg", 2), {}, [[0.5, 2.5], [4.5, 2.5]]),
    (MAP, ("soft", 2), {}, [[6.965363711, 8.926944609], [9.921677802, 7.921677802]]),
    (MAP, ("max", 3, 2, "SAME"), {}, [[10, 9], [10, 8]]),
    (MAP, ("mixed", 2), {"a": 0.3}, [[2.45, 4.45], [6.15, 4.15]]),
]


@pytest.mark.parametrize("wide", [True, False])
def test_worked_values(wide):
    with jax.enable_x64(wide):
        cases = [(jnp.asarray(x), arguments, params) for x, arguments, params, _ in WORKED]
        found = jax.jit(lambda: [window_pool(x, *arguments, params=params) for x, arguments, params in cases])()
        for y, (*case, expected) in zip(found, WORKED, strict=True):
            assert y.dtype == (np.float64 if wide else np.float32)
            np.testing.assert_allclose(np.ravel(y), np.ravel(expected), rtol=1e-9 if wide else 2e-5, err_msg=str(case))


def test_worked_gradients(x64):
    exact, straight, cubic, by_p = jax.jit(
        lambda x, positive: (
            jax.grad(lambda x: window_pool(x, "soft", 4).sum())(x),
            jax.grad(lambda x: window_pool(x, "soft", 4, grad="straight").sum())(x),
            jax.grad(lambda x: window_pool(x, "power", 4).sum())(positive),
            jax.grad(lambda p: window_pool(positive, "power", 4, params={"p": p}).sum())(3.0),
        )
    )(jnp.asarray(LINE), jnp.asarray(POSITIVE))
    np.testing.assert_allclose(exact.ravel(), [0.11641338, 0.925904413, -0.044931619, 0.002613826], rtol=1e-6)
    np.testing.assert_allclose(straight.ravel(), [0.224207818, 0.609460038, 0.030343229, 0.135988916], rtol=1e-6)
    np.testing.assert_allclose(cubic.ravel(), [0.009006224, 0.036024897, 0.144099589, 0.576398355], rtol=1e-6)
    np.testing.assert_allclose(by_p, 0.560803105, rtol=1e-8)


def test_worked_borders(x64):
    y = window_pool(jnp.asarray(MAP), "avg", 3, 1, ((1, 1), (1, 1)))[0, :2, :, 0]
    np.testing.assert_allclose(y[0], [0.5, 8 / 3, 5 / 3, 2.5])
    np.testing.assert_allclose(y[1], [2.5, 10 / 3, 29 / 9, 19 / 6])


def _of_window(kind, v):
    """The definition, for one window of one channel without padding; 0 of no element."""
    n = len(v)
    if n == 0:
        return 0.0
    with np.errstate(under="ignore"):
        return {
            "sum": lambda: v.sum(),
            "avg": lambda: v.mean(),
            "max": lambda: v.max(),
            "min": lambda: v.min(),
            "soft": lambda: (v * np.exp(v)).sum() / np.exp(v).sum(),
            "lme": lambda: np.log(np.exp(v).mean()),
            "lse": lambda: np.log(np.exp(v).sum()),
            "power": lambda: (np.maximum(v, 1e-6) ** 3).mean() ** (1 / 3),
            "geometric": lambda: np.exp(np.log(np.maximum(v, 1e-6)).mean()),
            "lp": lambda: (np.abs(v) ** 2).sum() ** 0.5,
            "gnp": lambda: (np.abs(v) + 1e-6).sum() * n**-0.5,
            "mixed": lambda: (v.max() + v.mean()) / 2,
        }[kind]()


def _oracle(kind, x, mask, found):
    out = np.zeros((x.shape[0], *found.out, x.shape[-1]))
    for b, *place, c in np.ndindex(out.shape):
        ranges = [
            [i for i in range(o * s - low, o * s - low + k) if 0 <= i < n]
            for o, s, k, (low, _), n in zip(place, found.strides, found.window, found.pads, found.sizes, strict=True)
        ]
        values = [x[b, *i, c] for i in itertools.product(*ranges) if mask[b, *i]]
        out[b, *place, c] = _of_window(kind, np.array(values))
    return out


SHAPES = [
    ((7,), 3, 1, ((1, 2),)),
    ((5, 6), 2, 2, "SAME"),
    ((6, 5), (3, 2), (2, 1), "CEIL"),
    ((5, 4), 2, 3, "CEIL"),
    ((3, 4, 4), (2, 3, 2), (1, 2, 2), "VALID"),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_the_definition(shape, x64):
    sizes, window, strides, padding = shape
    found = geometry.resolve(sizes, window, strides, padding)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *sizes, 2))
    mask = rng.random((2, *sizes)) < 0.6
    everything = np.ones_like(mask)
    spoilt = np.where(mask[..., None], x, np.nan)
    run = jax.jit(
        lambda x, spoilt, mask: {
            kind: (
                window_pool(x, kind, window, strides, padding),
                window_pool(spoilt, kind, window, strides, padding, mask=mask),
            )
            for kind in KINDS
        }
    )
    for kind, (plain, masked) in run(x, spoilt, mask).items():
        np.testing.assert_allclose(plain, _oracle(kind, x, everything, found), rtol=1e-10, atol=1e-12, err_msg=kind)
        np.testing.assert_allclose(masked, _oracle(kind, x, mask, found), rtol=1e-10, atol=1e-12, err_msg=kind)


def test_formulations_agree_and_the_safe_one_takes_over(x64):
    """Values and gradients of "shared" and "apart", inside the range of "shared" and beyond it."""
    rng = np.random.default_rng(1)
    base = rng.uniform(0.1, 1.5, size=(2, 5, 4, 2))
    params = {"soft": {"beta": 1.3}, "lme": {"tau": 0.8}, "power": {"p": 2.6}, "lp": {"p": 1.4}}

    def both(kind, impl, x, params):
        def pooled(x, params):
            y = window_pool(x, kind, 3, 1, ((1, 1), (0, 1)), params=params, impl=impl)
            return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype).reshape(y.shape))).sum(), y

        return jax.grad(pooled, (0, 1), has_aux=True)(x, params)

    for kind, values in params.items():
        apart, shared = (jax.jit(functools.partial(both, kind, impl)) for impl in ("apart", "shared"))
        for scale in (1.0, 300.0) if kind in ("soft", "lme") else (1.0, 1e12):
            for a, b in zip(
                *map(jax.tree.leaves, (apart(base * scale, values), shared(base * scale, values))), strict=True
            ):
                assert np.isfinite(a).all()
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10 * float(np.abs(a).max()), err_msg=kind)


def test_powers_agree_with_logarithms_and_keep_their_range():
    """Float32: whole exponents by multiplication against the general ones; no overflow at 1e30, none lost at 1e-30."""
    x = jnp.asarray(np.random.default_rng(2).uniform(0.1, 1, (1, 6, 6, 3)), jnp.float32)

    def summed(x, kind, p, impl):
        params = {"p": p, **({"eps": 0.0} if kind == "power" else {})}
        return window_pool(x, kind, 3, 2, params=params, impl=impl).sum()

    @jax.jit
    def run(x):
        return {
            (kind, p, impl): jax.value_and_grad(functools.partial(summed, kind=kind, p=p, impl=impl))(x)
            for kind in ("power", "lp")
            for p in (2, 3, 4, 7)
            for impl in ("powers", "apart")
        }

    for scale in (1.0, 1e30, 1e-30):
        found = run(x * np.float32(scale))
        for kind, p, _ in [key for key in found if key[2] == "powers"]:
            (y, dx), (y_, dx_) = found[kind, p, "powers"], found[kind, p, "apart"]
            np.testing.assert_allclose(y, y_, rtol=1e-4)  # p log x has p log(1e30) = 480 units of rounding
            np.testing.assert_allclose(dx, dx_, rtol=1e-3)


def test_power_means_are_ordered_and_within_their_gap(x64):
    """T1 for 400 windows of 6 elements and eleven exponents at once, of both signs."""
    rng = np.random.default_rng(3)
    powers = np.array([-20, -5, -2, -1, -0.3, 0.3, 1, 2, 3, 8, 40.0])
    x = np.exp(rng.normal(scale=rng.uniform(0.1, 3, (400, 1)), size=(400, 6)))
    run = jax.jit(lambda x, p: window_pool(x, "power", 6, params={"p": p, "eps": 0.0})[:, 0])
    y = np.asarray(run(np.repeat(x[..., None], len(powers), axis=2), powers))
    assert (np.diff(y, axis=1) >= -1e-12 * y[:, :-1]).all()
    low, high = x.min(axis=1), x.max(axis=1)
    for p, mean in zip(powers, y.T, strict=True):
        gap = np.log(high / mean) if p > 0 else np.log(mean / low)
        assert (gap >= -1e-12).all()
        assert (gap <= window_bounds.power_mean_gap(p, 6) + 1e-12).all()
    one = np.full((1, 6, 1), 1e-9)
    one[0, 2] = 1.0
    alone = run(one, np.array([2.0]))
    np.testing.assert_allclose(-np.log(alone), window_bounds.power_mean_gap(2.0, 6), rtol=1e-9)


def test_smooth_maxima_are_within_their_gaps(x64):
    """T2 and T3 for 400 windows of 5 elements, eight temperatures; SoftPool's worst window attains its gap."""
    taus = np.array([0.02, 0.1, 0.3, 0.7, 1, 2, 5, 30.0])
    x = np.random.default_rng(4).normal(scale=2, size=(400, 5, 1))
    wide = np.repeat(x, len(taus), axis=2)
    run = jax.jit(
        lambda x, tau: (
            window_pool(x, "lme", 5, params={"tau": tau})[:, 0],
            window_pool(x, "lse", 5, params={"tau": tau})[:, 0],
            window_pool(x, "soft", 5, params={"beta": 1 / tau})[:, 0],
            jax.grad(lambda beta: window_pool(x, "soft", 5, params={"beta": beta}).sum())(1 / tau),
        )
    )
    lme, lse, soft, by_beta = map(np.asarray, run(wide, taus))
    mean, high = x.mean(axis=1), x.max(axis=1)
    gap = np.array([window_bounds.log_mean_exp_gap(tau, 5) for tau in taus])
    assert (mean <= lme + 1e-12).all()
    assert (lme <= high + 1e-12).all()
    assert (high - lme <= gap + 1e-12).all()
    assert (np.diff(lme, axis=1) <= 1e-12).all()
    assert (lse >= high - 1e-12).all()
    assert (lse - high <= gap + 1e-12).all()
    assert (mean <= soft + 1e-12).all()
    assert (soft <= high + 1e-12).all()
    assert (high - soft <= [window_bounds.softpool_gap(1 / tau, 5) for tau in taus]).all()
    assert (by_beta >= 0).all()
    for n, expected in ((2, 0.278464543), (4, 0.603545740), (9, 1.040112582)):
        np.testing.assert_allclose(window_bounds.softpool_gap(2.0, n), expected / 2, rtol=1e-8)
        worst = window_bounds.softpool_worst(2.0, n)[None, :, None]
        y = window_pool(worst, "soft", n, params={"beta": 2.0})
        np.testing.assert_allclose(-y.ravel(), window_bounds.softpool_gap(2.0, n), rtol=1e-12)


def test_softpool_falls_where_an_element_is_far_below(x64):
    """T3', and T5: among avg, SoftPool and max the mean has the least squared error, SoftPool the next."""
    x = np.random.default_rng(5).normal(scale=2, size=(200, 4, 1))
    y, slopes = jax.jit(jax.value_and_grad(lambda x: window_pool(x, "soft", 4).sum()))(x)
    del y
    y = np.asarray(window_pool(x, "soft", 4))
    assert ((slopes < 0) == (x < window_bounds.negative_below(y, 1.0))).all()
    np.testing.assert_allclose(slopes.sum(axis=1), 1, rtol=1e-12)
    mean, high = x.mean(axis=1, keepdims=True), x.max(axis=1, keepdims=True)

    def error(value):
        return ((x - value) ** 2).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(error(y) - error(mean), window_bounds.excess_error(y, mean, 4), atol=1e-10)
    assert (error(mean) <= error(y)).all()
    assert (error(y) <= error(high)).all()


def test_convex_kinds(x64):
    """T4 at the middle of 500 random chords."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(scale=2, size=(2, 500, 4, 1))
    run = jax.jit(lambda x: {kind: window_pool(x, kind, 4) for kind in (*window_bounds.CONVEX, "soft")})
    middle, left, right = run((a + b) / 2), run(a), run(b)
    above = {kind: np.asarray((left[kind] + right[kind]) / 2 - middle[kind]) for kind in middle}
    for kind in window_bounds.CONVEX:
        assert (above[kind] >= -1e-12).all(), kind
    assert above["soft"].min() < -0.01  # neither convex
    assert above["soft"].max() > 0.01  # nor concave


def test_ties(x64):
    """Equal largest elements in overlapping windows: the first in row-major order, equal parts, all in full."""
    x = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1].set(-1.0)
    ct = jnp.asarray([[1.0, 10.0], [100.0, 1000.0]])[None, ..., None]

    def pulled(x, kind, sign, ties):
        return jax.vjp(lambda x: sign * window_pool(sign * x, kind, 2, 1, ties=ties), x)[1](ct)[0][0, ..., 0]

    cases = [(*kind, ties) for kind in (("max", 1), ("min", -1)) for ties in ("first", "split", "all")]
    run = jax.jit(lambda x: [pulled(x, *case) for case in cases])
    first, split, all_, *of_min = run(x)
    np.testing.assert_array_equal(first, [[1, 10, 0], [100, 0, 1000], [0, 0, 0]])
    np.testing.assert_allclose(split * 3, [[1, 11, 10], [101, 0, 1010], [100, 1100, 1000]])
    np.testing.assert_array_equal(all_, [[1, 11, 10], [101, 0, 1010], [100, 1100, 1000]])
    for a, b in zip(of_min, (first, split, all_), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nan_stays_in_its_windows(kind):
    """In values and gradients, for two windows and three of every element, whichever formulation serves them."""
    x = np.random.default_rng(7).uniform(0.5, 2, (1, 8, 2)).astype(np.float32)
    spoilt = x.copy()
    spoilt[0, 2, 0] = np.nan
    run = jax.jit(lambda x: jax.vjp(lambda x: window_pool(x, kind, 3, 2, "SAME"), x))
    y, back = run(x)
    y_, back_ = run(spoilt)
    windows = [0, 1]  # that hold element 2: [0, 3), [2, 5) with SAME padding behind
    assert np.isnan(y_[0, windows, 0]).all()
    y_ = y_.at[0, windows, 0].set(y[0, windows, 0])
    np.testing.assert_array_equal(y, y_)
    dx, dx_ = np.array(back(jnp.ones_like(y))[0]), np.array(back_(jnp.ones_like(y))[0])
    dx[0, :5, 0] = dx_[0, :5, 0] = 0
    np.testing.assert_array_equal(dx, dx_)


def test_half_precision_is_finite():
    """bfloat16 and float16 up to 1e4: every kind and its gradient."""
    x = np.random.default_rng(8).uniform(-1e4, 1e4, (1, 6, 2))

    def largest(x, kind):
        return window_pool(x, kind, 3, 1).astype(jnp.float32).max()

    run = jax.jit(lambda x: {kind: jax.value_and_grad(functools.partial(largest, kind=kind))(x) for kind in KINDS})
    for dtype in (jnp.bfloat16, jnp.float16):
        for kind, (y, dx) in run(jnp.asarray(x, dtype)).items():
            assert np.isfinite(y), kind
            assert dx.dtype == dtype
            assert np.isfinite(np.asarray(dx, np.float32)).all(), kind


def test_zero_windows_have_gradient_zero(x64):
    """lp at the origin has none, power below eps none: 0 by convention, not NaN."""

    def summed(x, kind, p, impl):
        return window_pool(x, kind, 2, 1, params={"p": p}, impl=impl).sum()

    cases = [
        {"kind": kind, "p": p, "impl": impl}
        for kind in ("lp", "power")
        for p, impl in ((3, None), (2, None), (2.5, "apart"), (2.5, "shared"))
    ]
    grads = jax.jit(lambda x: [jax.grad(functools.partial(summed, **case))(x) for case in cases])(jnp.zeros((1, 4, 1)))
    for found in grads:
        np.testing.assert_array_equal(found, 0)


def test_the_table_names_the_faster():
    for row in choices.SMOOTH:
        faster = "shared" if row.apart is None or row.shared < row.apart else "apart"
        assert row.chosen == faster, row


def test_gem_and_ggem(x64):
    x = jax.random.uniform(prng.root_key(0), (2, 5, 6), minval=0.1)
    groups = power.GGeM.create(groups=3, p=2.0)
    groups = groups.__class__(groups.theta.at[1].set(power.inverse_bounded_power(5.0)))
    np.testing.assert_allclose(groups.p, [2, 5, 2], rtol=1e-12)
    expected = (np.asarray(x) ** np.repeat([2, 5, 2], 2)).mean(axis=1) ** (1 / np.repeat([2, 5, 2], 2))
    run = jax.jit(lambda module, x: module(x))
    np.testing.assert_allclose(run(groups, x)[:, 0], expected, rtol=1e-10)
    rates = jax.jit(jax.grad(lambda module: module(x).sum()))(groups).theta
    assert (rates > 0).all()  # dM/dp >= 0, and theta moves p upwards
    np.testing.assert_allclose(power.GeM.create(p=4.5).p, 4.5, rtol=1e-12)
    moved = power.GeM.create(p=3.0, shift="min")
    np.testing.assert_allclose(run(moved, x - 7), run(moved, x) - 7, rtol=1e-9)


X = jnp.ones((1, 5, 4, 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: window_pool(X, "median", 2), "kind must be one of"),
        (lambda: window_pool(X[0, 0], "max", 2), "x must have shape"),
        (lambda: window_pool(X.astype(int), "max", 2), "x must be floating, got int32"),
        (lambda: window_pool(X, "max", 0), "window must be >= 1 along every axis, got 0"),
        (lambda: window_pool(X, "max", (2, 2, 2)), "window must have one number for each of the 2 spatial axes"),
        (lambda: window_pool(X, "max", 2.5), "window must consist of whole numbers, got 2.5"),
        (lambda: window_pool(X, "max", 2, (1, 0)), "strides must be >= 1"),
        (lambda: window_pool(X, "max", (2, 5)), r"window must be at most as large as the padded input \(5, 4\)"),
        (lambda: window_pool(X, "max", 2, padding="FULL"), "padding must be one of 'VALID', 'SAME', 'CEIL'"),
        (lambda: window_pool(X, "max", 2, padding=((0, -1), (0, 0))), "padding must be one of VALID"),
        (lambda: window_pool(X, "max", 2, padding=((1,), (1, 1))), "padding must be one of VALID"),
        (lambda: window_pool(X, "max", 2, padding=((2, 0), (0, 0))), "padding must leave at least one real entry"),
        (lambda: window_pool(X, "soft", 2, params={"tau": 1.0}), "params must consist of beta for kind 'soft'"),
        (lambda: window_pool(X, "lme", 2, params={"tau": 0.0}), "params.*tau.* must be positive and finite, got 0"),
        (lambda: window_pool(X, "lp", 2, params={"p": -1.0}), "params.*must be > 0 for kind 'lp', got -1"),
        (lambda: window_pool(X, "power", 2, params={"p": jnp.zeros(())}), "params.*must be finite and not 0 where"),
        (lambda: window_pool(X, "power", 2, params={"p": math.nan}), "params.*must not be NaN"),
        (lambda: window_pool(X, "gnp", 2, params={"p": 0}), "params.*must be finite and not 0, got 0"),
        (lambda: window_pool(X, "power", 2, params={"p": jnp.ones(5)}), r"params.*shape \(6,\), got \(5,\)"),
        (lambda: window_pool(X, "max", 2, mask=jnp.ones((1, 5, 4))), "mask must be boolean, got float32"),
        (lambda: window_pool(X, "max", 2, mask=jnp.ones((1, 5), bool)), "mask must have shape"),
        (lambda: window_pool(X, "soft", 2, params={"beta": math.inf}), "params.*beta.* must be finite, got inf"),
        (lambda: window_pool(X, "max", 2, ties="last"), "ties must be one of"),
        (lambda: window_pool(X, "max", 2, grad="straight"), "grad must be 'exact' for kind 'max'"),
        (lambda: window_pool(X, "max", 2, impl="fast"), "impl must be one of"),
        (lambda: power.gem_pool(X, jnp.full(4, 3.0)), "p must have a length that divides 6 channels, got 4"),
        (lambda: power.gem_pool(X, 3.0, shift="max"), "shift must be one of"),
        (lambda: power.inverse_bounded_power(0.0), "p must be > 0.01, got 0.0"),
        (lambda: window_bounds.power_mean_gap(0.0, 3), "p must not be 0"),
        (lambda: window_bounds.softpool_gap(-1.0, 3), "beta must be positive"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_formulation_that_a_kind_lacks():
    with pytest.raises(NotImplementedError, match="kind 'max' has slices here"):
        window_pool(X, "max", 2, impl="shared")
