"""Flat sets in order: what a TPU runs for them, interpreted, and that nothing has changed for other platforms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels._dispatch import forced
from research.pooling import attention, layouts, segment_kernel, sets

GROUPS, ELEMENTS, WIDTH = 7, 60, 4
RNG = np.random.default_rng(0)
IDS = np.sort(RNG.choice([0, 1, 2, 4, 5, 6], size=ELEMENTS)).astype(np.int32)  # set 3 is empty
MASK = (RNG.random(ELEMENTS) < 0.8) & (IDS != 5)  # and so is set 5
X = RNG.normal(size=(ELEMENTS, WIDTH)).astype(np.float32)
ATTENTION = attention.AttentionPool.create(jax.random.key(0), WIDTH, 5)
ATTSETS = attention.AttSets.create(jax.random.key(1), WIDTH, outputs=2, bias=True)
PARAMS = {"softmax": {"beta": 1.5}, "power": {"p": 2.5}, "gnp": {"p": 2.0, "q": 0.5}, "lme": {"tau": 0.05}}


def pools():
    for kind, params in PARAMS.items():
        yield kind, lambda x, kind=kind, params=params, **flat: sets.set_pool(x, kind, params=params, **flat)
    yield "attention_pool", ATTENTION
    yield "attsets", ATTSETS


POOLS = dict(pools())


def value_and_slope(name, x, empty=0.0):
    pool = functools.partial(
        POOLS[name], mask=jnp.asarray(MASK), segment_ids=jnp.asarray(IDS), num_segments=GROUPS, sorted=True, empty=empty
    )

    def total(x):
        y = pool(x)
        return (y * jax.random.normal(jax.random.key(2), y.shape)).sum(), y

    slope, y = jax.jit(jax.grad(total, has_aux=True))(x)
    return y, slope


@pytest.fixture
def as_on_a_tpu(monkeypatch):
    """Every choice between platforms is that of a TPU, and kernels are interpreted."""
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *args, tpu, default: tpu(*args))
    with forced("pallas_interpret"):
        yield


def without_the_kernel(names):
    """Values and slopes by segment operations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_kernel, "serves", lambda *args: False)
        return {name: value_and_slope(name, X, empty=-3.0) for name in names}


def slow_but(*quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in POOLS]


@pytest.mark.parametrize("name", slow_but("softmax", "lme", "attention_pool"))
def test_the_kernel_computes_the_same(name, as_on_a_tpu):
    (expected,) = without_the_kernel((name,)).values()
    found = value_and_slope(name, X, empty=-3.0)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(found[0][3], -3)
    np.testing.assert_array_equal(found[1][~MASK], 0)


@pytest.mark.parametrize("name", slow_but("attention_pool"))
def test_what_takes_no_part_touches_no_bit(name, as_on_a_tpu):
    wild = X.copy()
    wild[~MASK] = RNG.choice([np.nan, np.inf, -np.inf], size=(int((~MASK).sum()), WIDTH))
    for ours, theirs in zip(value_and_slope(name, wild), value_and_slope(name, X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.optimized
def test_a_core_runs_what_it_ran():
    """To the bit, values and slopes."""
    for name, expected in without_the_kernel(("lme", "attention_pool")).items():
        for ours, theirs in zip(value_and_slope(name, X, empty=-3.0), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.parametrize(("sorted", "kernel"), [(True, True), (False, False)])
def test_only_a_tpu_runs_the_kernel_and_only_in_order(sorted, kernel):
    def slopes(x, ids):
        pool = functools.partial(POOLS["softmax"], segment_ids=ids, num_segments=GROUPS, sorted=sorted)
        return jax.grad(lambda x: (pool(x) ** 2).sum())(x)

    args = jax.ShapeDtypeStruct(X.shape, X.dtype), jax.ShapeDtypeStruct(IDS.shape, IDS.dtype)
    texts = {
        name: jax.jit(slopes).trace(*args).lower(lowering_platforms=(name,)).as_text() for name in ("tpu", "cpu")
    }  # fmt: skip
    assert ("tpu_custom_call" in texts["tpu"]) == kernel
    assert "custom_call" not in texts["cpu"]


def test_what_it_does_not_serve():
    flat = layouts.Flat(jnp.asarray(IDS), GROUPS, sorted=True)
    assert segment_kernel.serves(flat, X[:, :1], X)
    assert not segment_kernel.serves(flat, X[:, :2], X)
    assert not segment_kernel.serves(flat, X.astype(np.float16), X)
    assert not segment_kernel.serves(layouts.Flat(jnp.asarray(IDS), GROUPS), X, X)
    assert not segment_kernel.serves(layouts.Flat(jnp.asarray(IDS), GROUPS, sorted=True, axis_name="data"), X, X)
    assert not segment_kernel.serves(layouts.Dense((2, 3), None), X, X)
