"""The blocked forms compute what one row at a time computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from instances import gaps, instance

from pallas_kernels.prequential_ridge import compact, prequential_ridge, reference, xla, xla_cpu

SHAPES = [
    pytest.param({"dim": 1, "awake": (0.5,)}, id="d1"),
    pytest.param({"dim": 5, "awake": (1.0, 0.3, 0.0, 0.02)}, id="d5"),
    pytest.param({"dim": 18, "awake": (0.9, 0.5), "length": 33}, id="d18"),
    pytest.param({"dim": 96, "awake": (0.6, 1.0, 0.2), "length": 41}, id="d96"),
    pytest.param({"dim": 130, "awake": (0.7,), "length": 17}, id="d130"),
]
FORMS = [
    pytest.param(lambda *args, factor, weights: xla.lockstep(*args, factor, weights, block_size=8), id="lockstep"),
    pytest.param(
        lambda *args, factor, weights: xla_cpu.lanes(*args, factor, weights, block_size=8, programs=2), id="lanes"
    ),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_blocked_equals_sequential_in_double(x64, shape, form):
    """Largest difference 1e-10: the two orders of summation differ by a few hundred roundings at most."""
    args, start = instance(0, **shape, dtype=np.float64)
    expected = prequential_ridge(*args, **start, impl="reference")
    assert max(gaps(jax.jit(form)(*args, **start), expected).values()) < 1e-10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES[3:])
def test_blocked_equals_sequential_in_single(shape, form):
    args, start = instance(1, **shape)
    expected = prequential_ridge(*args, **start, impl="reference")
    assert max(gaps(jax.jit(form)(*args, **start), expected).values()) < 1e-5


@pytest.mark.parametrize("impl", ["xla", "reference", "pallas_interpret"])
def test_padding_changes_nothing(impl):
    """Residual 0 and pivot 1 on padding; a program of padding only keeps its state bit for bit."""
    (features, labels, rows), start = instance(2, dim=5, awake=(0.0, 0.5))
    out = prequential_ridge(features, labels, rows, **start, block_size=16, impl=impl)
    np.testing.assert_array_equal(jnp.where(rows < 0, out.residual, 0), 0)
    np.testing.assert_array_equal(jnp.where(rows < 0, out.pivot, 1), 1)
    np.testing.assert_array_equal(out.factor[0], start["factor"][0])
    np.testing.assert_array_equal(out.weights[0], start["weights"][0])


def test_least_squares_identity(x64):
    """sum residual^2 / pivot = min_u lambda |u|^2 + sum (y - x'u)^2 from P = I / lambda, and theta is its argmin."""
    (features, labels, rows), _ = instance(3, dim=5, awake=(0.6,), dtype=np.float64)
    out = prequential_ridge(
        features, labels, rows, factor=2 * jnp.eye(5)[None], weights=jnp.zeros((1, 5)), block_size=7
    )
    seen = rows[0][rows[0] >= 0]
    x, y = features[seen], labels[seen]
    u = jnp.linalg.solve(jnp.eye(5) / 2 + x.T @ x, x.T @ y)
    assert jnp.max(jnp.abs(out.weights[0] - u)) < 1e-12
    assert abs(jnp.sum(out.residual**2 / out.pivot) - (u @ u / 2 + jnp.sum((y - x @ u) ** 2))) < 1e-12


def test_continuing_at_a_block_repeats_the_whole_run():
    (features, labels, rows), start = instance(4, dim=18, awake=(0.9, 0.4, 0.7), length=48)
    whole = prequential_ridge(features, labels, rows, **start, block_size=16)
    first = prequential_ridge(features, labels, rows[:, :32], **start, block_size=16)
    rest = {"factor": first.factor, "weights": first.weights}
    second = prequential_ridge(features, labels, rows[:, 32:], **rest, block_size=16)
    np.testing.assert_array_equal(whole.residual, jnp.concatenate([first.residual, second.residual], axis=1))
    np.testing.assert_array_equal(whole.factor, second.factor)


def test_compaction_keeps_order_and_finds_the_way_back(x64):
    (features, labels, rows), start = instance(5, dim=5, awake=(0.1, 0.9, 0.0, 0.5, 1.0), dtype=np.float64)
    packed, slot = jax.jit(compact)(rows)
    for own, mine in zip(np.asarray(rows), np.asarray(packed), strict=True):
        np.testing.assert_array_equal(mine[: np.sum(own >= 0)], own[own >= 0])
    np.testing.assert_array_equal(jnp.take_along_axis(packed, slot, axis=1), rows)
    out = prequential_ridge(features, labels, packed, **start, block_size=8)
    expected = prequential_ridge(features, labels, rows, **start, impl="reference")
    back = out._replace(**{n: jnp.take_along_axis(getattr(out, n), slot, axis=1) for n in ("residual", "pivot")})
    assert max(gaps(back, expected).values()) < 1e-10


def test_a_nan_in_one_program_stays_there():
    (features, labels, rows), start = instance(6, dim=5, awake=(0.5, 0.5, 0.5))
    rows = jnp.where(rows == 0, -1, rows).at[1, 3].set(0)
    clean = prequential_ridge(features, labels, rows, **start)
    dirty = prequential_ridge(features.at[0, 2].set(jnp.nan), labels, rows, **start)
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(a[jnp.array([0, 2])], b[jnp.array([0, 2])])
    assert jnp.isnan(dirty.weights[1]).all()


@pytest.mark.parametrize("axes", [(None, None, 0), (0, None, 0), (None, 0, None)])
def test_vmap_equals_a_loop(axes):
    """Widths of the compiled loops differ, so equality is up to the last bits: 1e-6."""
    batch = [instance(seed, dim=5, awake=(0.9, 0.2, 0.5)) for seed in (7, 8)]
    start = batch[0][1]
    args = [jnp.stack([b[0][i] for b in batch]) if axis == 0 else batch[0][0][i] for i, axis in enumerate(axes)]
    run = lambda *table: prequential_ridge(*table, **start, block_size=8)  # noqa: E731
    together = jax.jit(jax.vmap(run, in_axes=axes))(*args)
    for i in range(2):
        alone = run(*(a[i] if axis == 0 else a for a, axis in zip(args, axes, strict=True)))
        assert max(gaps(jax.tree.map(lambda v: v[i], together), alone).values()) < 1e-6  # noqa: B023


def test_gradients_match_the_reference(x64):
    args, start = instance(9, dim=5, awake=(0.9, 0.3), length=20, dtype=np.float64)
    features, labels, rows = args

    def loss(features, labels, factor, weights, impl):
        out = prequential_ridge(features, labels, rows, factor=factor, weights=weights, block_size=8, impl=impl)
        return jnp.sum(out.residual**2) + jnp.sum(jnp.log(out.pivot)) + jnp.sum(out.factor**2)

    inputs = features, labels, start["factor"], start["weights"]
    ours = jax.jit(jax.grad(lambda *t: loss(*t, None), argnums=(0, 1, 2, 3)))(*inputs)

    def sequential(*t):
        out = reference.prequential_ridge(t[0], t[1], rows, *t[2:])
        return jnp.sum(out.residual**2) + jnp.sum(jnp.log(out.pivot)) + jnp.sum(out.factor**2)

    theirs = jax.jit(jax.grad(sequential, argnums=(0, 1, 2, 3)))(*inputs)
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if index == 2:  # The forms read opposite halves of a symmetric matrix; only the symmetric part has a meaning.
            a, b = (v + v.swapaxes(1, 2) for v in (a, b))
        assert jnp.max(jnp.abs(a - b)) < 1e-9


@pytest.mark.parametrize("regularization", [1.0, 0.01])
def test_float32_loses_no_digits_over_a_long_run(regularization, x64):
    """Relative error of the summed loss at most 5e-6 over 20,000 rows (the recursion on theta, never theta = P b).

    A small penalty makes the first pivots large: an elimination that cancels against them is off by 1.2e-5 here.
    """
    rng = np.random.default_rng(10)
    features = rng.uniform(0, 1, (20_000, 10))
    labels = np.clip(features @ rng.uniform(0, 0.2, 10) + rng.normal(0, 0.1, 20_000), 0, 1)
    rows = jnp.arange(20_000, dtype=jnp.int32)[None]

    def loss(dtype):
        start = {"factor": jnp.eye(10, dtype=dtype)[None] / regularization, "weights": jnp.zeros((1, 10), dtype)}
        out = prequential_ridge(jnp.asarray(features, dtype), jnp.asarray(labels, dtype), rows, **start)
        return float(np.sum(np.asarray(out.residual, np.float64) ** 2))

    double = loss(jnp.float64)
    assert abs(loss(jnp.float32) - double) < 5e-6 * double


BAD = [
    ("features", lambda a, s: ((a[0][0], *a[1:]), s), "features must have 2 axes, got shape"),
    ("labels", lambda a, s: ((a[0], a[1][:-1], a[2]), s), r"labels must have shape \(60,\), got \(59,\)"),
    (
        "labels dtype",
        lambda a, s: ((a[0], a[1].astype(jnp.bfloat16), a[2]), s),
        "labels must have the dtype of features",
    ),
    ("features dtype", lambda a, s: ((a[0].astype(jnp.bfloat16), *a[1:]), s), "features must be float32 or float64"),
    ("rows", lambda a, s: ((*a[:2], a[2] * 1.0), s), "rows must be integers, got float32"),
    ("rows range", lambda a, s: ((*a[:2], a[2].at[0, 0].set(60)), s), "rows must be below .* 60, got 60"),
    ("factor", lambda a, s: (a, s | {"factor": s["factor"][0]}), "factor must have shape"),
    ("weights", lambda a, s: (a, s | {"weights": s["weights"][:, :-1]}), "weights must have shape"),
    ("block", lambda a, s: (a, s | {"block_size": 0}), "block_size must be >= 1, got 0"),
    ("impl", lambda a, s: (a, s | {"impl": "cuda"}), "impl must be None or one of .*, got 'cuda'"),
]


@pytest.mark.parametrize(("change", "message"), [pytest.param(c, m, id=i) for i, c, m in BAD])
def test_bad_arguments_are_named(change, message):
    args, start = change(*instance(11, dim=3, awake=(0.5, 0.5)))
    with pytest.raises(ValueError, match=message):
        prequential_ridge(*args, **start)
