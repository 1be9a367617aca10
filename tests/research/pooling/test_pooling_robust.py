"""Robust aggregation: worked example, oracles, breakdown and its limits (T19), the flag aggregator's two forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from research.pooling import flag, robust, robust_bounds

ROWS = np.array([(1, 0, 0.1), (0.9, 0.1, 0), (1.1, -0.1, 0), (-8, 5, 3)])
WORKED = {
    "median": ({}, (0.95, 0.05, 0.05)),
    "trimmed_mean": ({"trim": 1}, (0.95, 0.05, 0.05)),
    "geometric_median": ({}, (0.957178363, 0.030129823, 0.061589044)),
    "flag": ({"rank": 1}, (2.126773772, -0.160575891, 0.009979077)),
}


@pytest.mark.parametrize("kind", WORKED)
def test_worked_example(kind, x64):
    options, value = WORKED[kind]
    pool = jax.jit(functools.partial(robust.robust_pool, kind=kind, **options))
    np.testing.assert_allclose(pool(jnp.asarray(ROWS)), value, rtol=1e-7)
    low = pool(jnp.asarray(ROWS, jnp.float32))
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, value, rtol=2e-5, atol=1e-6)


@pytest.fixture(scope="module")
def geometric():
    return jax.jit(robust.geometric_median)


def test_ranks_are_those_of_numpy(x64):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 9, 4))
    mask = np.arange(9)[None] < np.array([9, 8, 5, 4, 1, 0])[:, None]
    median, trimmed = jax.jit(
        lambda x, mask: (robust.median(x, mask=mask, empty=7.0), robust.trimmed_mean(x, trim=2, mask=mask, empty=7.0))
    )(np.where(mask[..., None], x, np.nan), mask)
    for one, seen, middle, cut in zip(x, mask, median, trimmed, strict=True):
        kept = one[seen]
        if len(kept) == 0:
            np.testing.assert_array_equal((middle, cut), 7)
            continue
        np.testing.assert_allclose(middle, np.median(kept, axis=0), rtol=1e-14)
        share = 2 if len(kept) > 4 else (len(kept) - 1) // 2
        np.testing.assert_allclose(cut, scipy.stats.trim_mean(kept, share / len(kept) + 1e-9, axis=0), rtol=1e-12)


def cost(x, y):
    return np.linalg.norm(x - y, axis=-1).sum(axis=-1)


def test_geometric_median_has_the_least_sum_of_distances(geometric, x64):
    """Against a general-purpose solver, and no vector is better: a quarter of the instances end in one."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(64, 5, 2)) * rng.uniform(0.1, 10, size=(64, 1, 1))
    found = np.asarray(geometric(x))
    ends = 0
    for one, y in zip(x, found, strict=True):
        every = np.linalg.norm(one - y, axis=-1)
        ends += every.min() == 0
        best = scipy.optimize.minimize(
            lambda z, one=one: cost(one, z), y + 0.1, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13}
        )
        assert cost(one, y) <= best.fun * (1 + 1e-12)
        assert cost(one, y) <= min(cost(one, z) for z in one)
    assert 5 <= ends <= 59


def test_degenerate_collections_have_their_median(geometric, x64):
    same = np.tile([[1.0, 2.0]], (5, 1))
    np.testing.assert_array_equal(geometric(same), same[0])
    line = np.stack([np.array([0.0, 1, 2, 5, 9]), np.zeros(5)], axis=1)
    np.testing.assert_array_equal(geometric(line), (2, 0))
    # The start of the iteration is a vector that is not the minimiser.
    trap = np.array([(0.0, 0), (5, 0.1), (5, -0.1), (-1, 3), (6, 0)])
    far = np.asarray(geometric(trap))
    assert cost(trap, far) < cost(trap, trap[0])
    np.testing.assert_array_equal(geometric(np.array([[3.0, 4.0]] * 1 + [[0.0, 0.0]] * 4)), (0, 0))


@pytest.mark.parametrize("kind", ["median", "trimmed_mean", "geometric_median"])
def test_bad_vectors_move_the_result_within_its_limit(kind, x64):
    """T19: for every f below breakdown, and vectors at distances up to 1e6 in directions that agree or do not."""
    rng = np.random.default_rng(3)
    number, size = 9, 4
    most = 3 if kind == "trimmed_mean" else robust_bounds.breakdown(kind, number) - 1
    options = {"trim": 3} if kind == "trimmed_mean" else {}
    if kind != "geometric_median":
        assert robust_bounds.breakdown(kind, number, 3) == most + 1
    honest = rng.normal(size=(most + 1, 20, number, size))
    attack = rng.normal(size=honest.shape) * 10.0 ** rng.integers(0, 7, size=(most + 1, 20, 1, 1))
    attack[:, ::2] = attack[:, ::2, :1]
    bad = np.arange(most + 1)[:, None, None] > np.arange(number)
    x = np.where(bad[..., None], attack, honest)
    found = jax.jit(functools.partial(robust.robust_pool, kind=kind, **options))(x)
    error = np.linalg.norm(found, axis=-1)
    worst = 0.0
    for f in range(most + 1):
        left = honest[f, :, f:]
        if kind == "geometric_median":
            limit = robust_bounds.geometric_median_error(number, f, np.linalg.norm(left, axis=-1).max(axis=-1))
        else:
            limit = robust_bounds.coordinate_error(left, np.zeros((20, size)))
        assert (error[f] <= limit * (1 + 1e-9)).all()
        worst = max(worst, (error[f] / limit).max())
    assert worst > 0.2  # the limit is not idle


def test_at_breakdown_the_result_follows_the_bad_vectors(geometric, x64):
    far = np.array([1e6, 0.0])
    honest = np.random.default_rng(4).normal(size=(9, 2))
    x = honest.copy()
    x[:5] = far
    assert robust_bounds.breakdown("geometric_median", 9) == robust_bounds.breakdown("median", 9) == 5
    for found in (robust.median(x), geometric(x)):
        np.testing.assert_allclose(found, far, atol=1e-3)
    assert np.isinf(robust_bounds.geometric_median_error(9, 5, 1.0))
    x = honest.copy()
    x[:3] = far
    assert np.linalg.norm(robust.trimmed_mean(x, trim=2)) > 1e4
    assert np.linalg.norm(robust.trimmed_mean(x, trim=3)) < 10
    assert robust_bounds.breakdown("mean", 9) == 1


@pytest.fixture(scope="module")
def flags():
    @functools.partial(jax.jit, static_argnames=("rank", "pairs", "gram", "rescale", "num_steps"))
    def pool(x, mask=None, **options):
        return flag.flag_aggregate(x, mask=mask, **options)

    return pool


def released(x, rank, steps, pairs):
    """The published iteration as loops over rows and ordered pairs, from the span of the unweighted rows."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    basis = np.linalg.svd(unit.T, full_matrices=False)[0][:, :rank]

    def weigh(row):
        return (abs(1 - ((basis.T @ row) ** 2).sum()) + 1e-7) ** -0.25 * row

    for _ in range(steps):
        columns = [weigh(row) for row in unit]
        if pairs:
            share = pairs / (len(x) * (len(x) - 1))
            columns += [share * weigh(a - b) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j]
        basis = np.linalg.svd(np.stack(columns, axis=1), full_matrices=False)[0][:, :rank]
    return (basis @ (basis.T @ unit.T)).sum(axis=1) / rank


@pytest.mark.parametrize("pairs", [0.0, 3.0])
def test_flag_is_the_published_iteration_in_both_forms(flags, pairs, x64):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3, 6, 10)) + 2 * rng.normal(size=(3, 1, 10))
    expected = [released(one, 2, 5, pairs) for one in x]
    for gram in (False, True):
        np.testing.assert_allclose(flags(x, rank=2, pairs=pairs, gram=gram), expected, rtol=1e-9, atol=1e-12)
    assert (np.linalg.norm(expected, axis=1) <= robust_bounds.flag_length(6, 2)).all()


def test_flag_leaves_out_what_is_masked_and_takes_a_length(flags, x64):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(6, 10))
    x[4:] = np.nan
    mask = np.arange(6) < 4
    part = released(x[:4], 2, 5, 1.0)
    found = flags(x, mask, rank=2, pairs=1.0)
    np.testing.assert_allclose(found, part, rtol=1e-9, atol=1e-12)
    sized = flags(x, mask, rank=2, pairs=1.0, rescale="median_norm")
    np.testing.assert_allclose(sized / np.linalg.norm(sized), part / np.linalg.norm(part), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(sized), np.median(np.linalg.norm(x[:4], axis=1)), rtol=1e-12)
    np.testing.assert_array_equal(flags(x, np.zeros(6, bool), rank=2, pairs=1.0), 0)


def test_reweighting_lowers_the_sum_of_sines(x64):
    """Iteratively reweighted least squares minimises a majorant of the smoothed objective at every step."""
    rng = np.random.default_rng(8)
    unit = rng.normal(size=(8, 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    mask = np.ones(8, bool)

    @functools.partial(jax.jit, static_argnums=0)
    def value(steps):
        return flag.objective(unit, flag._subspace(unit, mask, 2, steps, 0.0))

    values = np.array([value(steps) for steps in range(5)])
    assert (np.diff(values) <= 1e-12).all()
    assert values[-1] < values[0] - 1e-3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("mode", {}, r"kind must be one of 'median', .*, got 'mode'\."),
        ("trimmed_mean", {"trim": 2}, r"trim must be < N / 2 = 2, got 2\."),
        ("trimmed_mean", {"trim": -1}, r"trim must be >= 0, got -1\."),
        ("flag", {"rank": 4}, r"rank must lie in \[1, min\(N, D\)\] = \[1, 3\], got 4\."),
        ("flag", {"rank": 1, "pairs": -1.0}, r"pairs must be >= 0, got -1\.0\."),
        ("flag", {"rank": 1, "rescale": "mean"}, r"rescale must be one of 'none', 'median_norm', got 'mean'\."),
        ("median", {"mask": np.ones(3, bool)}, r"mask must have shape \(4\), got \(3,\)\."),
        ("flag", {"rank": 1, "mask": np.ones(4)}, r"mask must be of dtype bool, got float"),
        ("geometric_median", {"num_steps": 0}, r"num_steps must be >= 1, got 0\."),
    ],
)
def test_what_makes_no_sense_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        robust.robust_pool(jnp.asarray(ROWS), kind, **options)
