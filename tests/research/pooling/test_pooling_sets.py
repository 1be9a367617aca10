"""Sets: worked examples, both layouts against NumPy, reordered sums, merged summaries, specials, what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from research.pooling import gnp, layouts, set_bounds, sets, softmax_monoid

Y = np.array([(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2)], float)
IDS = np.array([0, 0, 2, 2, 2])
PARAMS = {
    "softmax": {"beta": 1.3}, "power": {"p": np.array([2.5, -1.5])}, "lme": {"tau": 0.6},
    "gnp": {"p": np.array([2.0, -1.0]), "q": 0.4},
}  # fmt: skip

WORKED = {
    "sum": [(3, 1), (0, 0), (3, 9)],
    "mean": [(1.5, 0.5), (0, 0), (1, 3)],
    "max": [(2, 1), (0, 0), (4, 4)],
    "softmax": [(1.731058579, 0.731058579), (0, 0), (3.895661757, 3.575210383)],
}


@pytest.mark.parametrize("kind", WORKED)
def test_worked_example(kind, x64):
    for dtype, rtol in ((np.float64, 1e-6), (np.float32, 2e-5)):
        found = sets.set_pool(Y.astype(dtype), kind, segment_ids=IDS, num_segments=3)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, WORKED[kind], rtol=rtol)


def test_norms_of_the_worked_example(x64):
    laws = {"sum": 15, "mean": 3.75, "rms": 4.609772229, "harmonic": 2.133333333, "max": 8.0, "min": 1.0}
    x = np.array([1, 2, 4, 8.0])[None, :, None]
    for name, value in laws.items():
        p, q = gnp.law(name)
        found = sets.set_pool(x, "gnp", params={"p": p, "q": q, "eps": 0.0})
        np.testing.assert_allclose(found[0, 0], value, rtol=1e-9)


def pooled(x, kind, params):
    """One set `[n, D]`, by NumPy."""
    n, floored = len(x), np.maximum(x, 1e-6)
    if kind in ("sum", "mean", "max", "min", "var", "std"):
        return getattr(x, kind)(axis=0)
    if kind == "softmax":
        return (scipy.special.softmax(params["beta"] * x, axis=0) * x).sum(axis=0)
    if kind == "lme":
        return params["tau"] * (scipy.special.logsumexp(x / params["tau"], axis=0) - np.log(n))
    if kind == "power":
        return ((floored ** params["p"]).mean(axis=0)) ** (1 / params["p"])
    return n ** -params["q"] * ((np.abs(x) + 1e-6) ** params["p"]).sum(axis=0) ** (1 / params["p"])


@pytest.fixture
def ragged():
    """Sets of 0 to 6 elements, dense and flat, the flat ones also in another order."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 7, size=12)
    sizes[:2] = 0, 1
    mask = np.arange(6)[None] < sizes[:, None]
    x = np.where(mask[..., None], rng.normal(size=(12, 6, 2)) * 3, np.nan)
    return x, mask, x[mask], np.repeat(np.arange(12), sizes), rng.permutation(int(sizes.sum()))


@pytest.mark.parametrize("kind", sets.KINDS)
def test_both_layouts_are_numpy(kind, ragged, x64):
    x, mask, rows, ids, order = ragged
    params = PARAMS.get(kind)
    dense = sets.set_pool(x, kind, mask=mask, params=params, empty=-7.0)
    flat = functools.partial(sets.set_pool, kind=kind, num_segments=12, params=params, empty=-7.0)
    expected = [pooled(x[g][mask[g]], kind, params) if mask[g].any() else (-7.0, -7.0) for g in range(12)]
    np.testing.assert_allclose(dense, expected, rtol=1e-10)
    np.testing.assert_allclose(flat(rows, segment_ids=ids, sorted=True), dense, rtol=1e-10)
    np.testing.assert_allclose(flat(rows[order], segment_ids=ids[order]), dense, rtol=1e-10)
    # A padded flat layout; its ids and rows may be anything.
    padded, taken = np.concatenate([rows, np.full((3, 2), np.nan)]), np.arange(len(rows) + 3) < len(rows)
    beyond = np.concatenate([ids, [99, -5, 12]])
    np.testing.assert_allclose(flat(padded, segment_ids=beyond, mask=taken), dense, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_reordered_sums_differ_by_their_bound(seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(64, 50, 3)) * 10.0 ** rng.integers(-3, 3, size=(64, 50, 1))).astype(np.float32)
    other = rng.permuted(x, axis=1)
    for pad in (0, 9):  # padding changes the grouping, not the numbers
        filled = np.pad(other, ((0, 0), (pad, 0), (0, 0)), constant_values=np.nan)
        gap = np.abs(sets.set_pool(x, "sum") - sets.set_pool(filled, "sum", mask=~np.isnan(filled[..., 0])))
        bound = set_bounds.reordering_error(np.sort(x, axis=1))
        assert (gap <= bound).all()
    assert (bound > 0).all()


def test_equal_maxima_share_the_gradient():
    x = jnp.array([[[2.0], [2.0], [1.0], [5.0]]])
    mask = jnp.array([[True, True, True, False]])
    kinds = ("max", "min", "std")
    slopes = jax.jit(lambda x: [jax.grad(lambda x, k=k: sets.set_pool(x, k, mask=mask).sum())(x) for k in kinds])
    np.testing.assert_array_equal(slopes(x)[0][0, :, 0], [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(slopes(-x)[1][0, :, 0], [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(slopes(jnp.ones_like(x))[2], jnp.zeros_like(x))


def test_powers_at_their_limits(x64):
    x = jnp.array([1.0, 2, 4, 8])[None, :, None]
    values = {
        0: 2.828427125,
        np.inf: 8,
        -np.inf: 1,
        -1: 2.133333333,
        3.0: 5.268641215,
        100: 7.889861636,
    }
    for p, value in values.items():
        np.testing.assert_allclose(sets.set_pool(x, "power", params={"p": p})[0, 0], value, rtol=1e-9)
    slopes = jax.grad(lambda x, p: sets.set_pool(x, "power", params={"p": p}).sum(), argnums=(0, 1))(x, 3.0)
    np.testing.assert_allclose(slopes[0][0, :, 0], (0.009006224, 0.036024897, 0.144099589, 0.576398355), rtol=1e-6)
    np.testing.assert_allclose(slopes[1], 0.560803105, rtol=1e-8)


def test_integers_and_half_precision():
    x = jnp.array([[[3], [4], [200]]], jnp.int32)
    mask = jnp.array([[True, True, False]])
    assert sets.set_pool(x, "max", mask=mask)[0, 0] == 4
    assert sets.set_pool(x, "sum", mask=mask).dtype == jnp.int32
    assert sets.set_pool(x, "mean", mask=mask)[0, 0] == 3.5
    many = jnp.ones((1, 4096, 1), jnp.bfloat16)  # bfloat16 alone stops counting at 256
    assert sets.set_pool(many, "sum")[0, 0] == 4096
    assert sets.set_pool(many, "sum").dtype == jnp.bfloat16


def test_no_elements_at_all():
    @jax.jit
    def pooled(x, mask):
        return [sets.set_pool(x, kind, mask=mask, params=PARAMS.get(kind), empty=3.0) for kind in sets.KINDS]

    for found in pooled(jnp.zeros((2, 0, 2)), jnp.zeros((2, 0), bool)):
        np.testing.assert_array_equal(found, 3.0)
    nothing = jnp.full((1, 2, 2), jnp.nan), jnp.zeros((1, 2), bool)
    np.testing.assert_array_equal(jnp.stack(pooled(*nothing)), 3.0)
    slope = jax.jit(jax.grad(lambda x, mask: sum(y.sum() for y in pooled(x, mask))))
    np.testing.assert_array_equal(slope(*nothing), 0)


def test_summaries_merge_in_any_grouping(x64):
    rng = np.random.default_rng(0)
    logits, values = rng.normal(size=(2, 3, 12, 2)) * np.array([300, 1])[:, None, None, None]
    mask = rng.random((3, 12)) < 0.6
    mask[0], mask[:, :4] = False, False  # an empty set, and an empty part

    @jax.jit
    def merged(logits, values):
        parts = [
            softmax_monoid.summary(
                layouts.Dense((3, 4), mask[:, i : i + 4]), logits[:, i : i + 4], values[:, i : i + 4]
            )
            for i in (0, 4, 8)
        ]
        left = softmax_monoid.combine(softmax_monoid.combine(parts[0], parts[1]), parts[2])
        right = softmax_monoid.combine(parts[2], softmax_monoid.combine(parts[0], parts[1]))
        unit = softmax_monoid.combine(softmax_monoid.identity((3, 2), left.top.dtype), right)
        return [softmax_monoid.mean(one, 5.0) for one in (left, right, unit)], softmax_monoid.log_sum(left, 5.0)

    weights = scipy.special.softmax(np.where(mask[1:, :, None], logits[1:], -np.inf), axis=1)
    expected = np.concatenate([np.full((1, 2), 5.0), (weights * values[1:]).sum(axis=1)])
    means, logs = merged(logits, values)
    for found in means:
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(logs[1:], scipy.special.logsumexp(logits[1:], axis=1, b=mask[1:, :, None]), rtol=1e-12)
    # The merged maximum passes no gradient, and none is missing.
    slope = jax.grad(lambda logits: merged(logits, values)[0][0].sum())(logits)
    step = 1e-6 * (np.arange(12) == 7)[None, :, None]
    change = [merged(logits + sign * step, values)[0][0].sum() for sign in (1, -1)]
    np.testing.assert_allclose(slope[:, 7].sum(), (change[0] - change[1]) / 2e-6, atol=1e-7)


REFUSED = [
    ({"kind": "median"}, r"kind must be one of 'sum', .*, got 'median'\."),
    ({"x": Y}, r"x must have shape \(G, N, D\) without segment_ids, got \(5, 2\)\."),
    ({"num_segments": 3}, r"num_segments must be None without segment_ids, got 3\."),
    ({"mask": np.ones((1, 4), bool)}, r"mask must have shape \(1, 5\), got \(1, 4\)\."),
    ({"mask": np.ones((1, 5))}, r"mask must be boolean, got float32\."),
    ({"segment_ids": IDS, "num_segments": 3}, r"x must have shape \(M, D\) with segment_ids, got \(1, 5, 2\)\."),
    ({"x": Y, "segment_ids": IDS}, r"num_segments must be a Python int >= 1 with segment_ids, got None\."),
    ({"x": Y, "segment_ids": IDS, "num_segments": 0}, r"num_segments must be a Python int >= 1 .*, got 0\."),
    ({"x": Y, "segment_ids": IDS + 0.0, "num_segments": 3}, r"segment_ids must be integers, got float32\."),
    ({"x": Y, "segment_ids": IDS[:4], "num_segments": 3}, r"segment_ids must have shape \(5\), got \(4,\)\."),
    ({"x": Y, "segment_ids": IDS, "num_segments": 2}, r"segment_ids must lie in \[0, 1\], got 2 at index 2 "),
    ({"x": Y, "segment_ids": IDS[::-1], "num_segments": 3, "sorted": True}, "segment_ids must not decrease"),
    ({"kind": "softmax", "params": {"tau": 1}}, r"params must have no names but beta, got 'tau'\."),
    ({"kind": "softmax", "params": {"beta": np.nan}}, r"beta must be finite, got nan\."),
    ({"kind": "softmax", "params": {"beta": np.ones(3)}}, r"beta must be a number or have shape \(2,\), got \(3,\)\."),
    ({"kind": "lme", "params": {"tau": 0.0}}, r"tau must be positive and finite, got 0\.0\."),
    ({"kind": "power", "params": {"p": np.nan}}, r"p must have \|p\| >= 0\.001, or be 0 or \+-inf as .*, got nan\."),
    ({"kind": "power", "params": {"p": jnp.zeros(())}}, r"p must have \|p\| >= 0\.001, or be 0 .*, got 0\.0\."),
    ({"kind": "gnp", "params": {"p": 0}}, r"p must have \|p\| >= 0\.001, got 0\."),
    ({"kind": "power", "params": {"eps": -1.0}}, r"eps must be >= 0, got -1\.0\."),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_bad_input_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        sets.set_pool(**({"x": Y[None], "kind": "mean"} | given))
