"""The TPU kernel, without a TPU: interpreted values, uninitialised memory, races, lowering, dispatch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from instances import gaps, instance
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import BlockSizes
from pallas_kernels.prequential_ridge import (
    compact,
    kernel_tpu,
    kernel_tpu_lanes,
    kernel_tpu_tiles,
    prequential_ridge,
)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"dim": 1, "awake": (0.5,), "length": 20}, id="d1"),
        pytest.param({"dim": 5, "awake": (1.0, 0.0, 0.3), "length": 37}, id="d5"),
        pytest.param({"dim": 18, "awake": (0.9, 0.5), "length": 33}, id="d18"),
        pytest.param({"dim": 96, "awake": (0.6,), "length": 17}, id="d96"),
        pytest.param({"dim": 130, "awake": (0.7,), "length": 16}, id="d130"),
    ],
)
def test_interpreted_kernel_equals_sequential(shape):
    """1e-5 relative in float32, lengths that are no multiple of the block and programs that do not fill a group."""
    args, start = instance(0, **shape)
    got = kernel_tpu.prequential_ridge(*args, *start.values(), sizes=BlockSizes(8, 2), interpret=True)
    assert max(gaps(got, prequential_ridge(*args, **start, impl="reference")).values()) < 1e-5


def _lanes(args, start, sizes, **options):
    """The lane layout, whatever the number of programs."""
    features, _, rows = args
    sizes = kernel_tpu_lanes.fitting(features.shape[1], len(rows), sizes)
    run = functools.partial(kernel_tpu_lanes.prequential_ridge, sizes=sizes, **options)
    return jax.jit(run)(*args, *start.values())


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"dim": 1, "awake": (0.5,), "length": 20}, id="d1"),
        pytest.param({"dim": 18, "awake": (0.9, 0.5, 0.0), "length": 33}, id="d18"),
        pytest.param({"dim": 97, "awake": (0.6,), "length": 17}, id="d97"),
    ],
)
def test_a_program_per_lane_equals_sequential(shape):
    args, start = instance(6, **shape)
    got = _lanes(args, start, BlockSizes(16, 256), interpret=True)
    assert max(gaps(got, prequential_ridge(*args, **start, impl="reference")).values()) < 1e-5


def test_lanes_of_many_programs_are_ordered_by_length_and_answered_in_place():
    """Three groups, the last one not full; a group's last blocks hold padding only."""
    awake = [0.05 if p % 3 else 1.0 for p in range(300)]
    (features, labels, rows), start = instance(7, dim=2, awake=awake, length=24)
    rows, _ = compact(rows)
    got = _lanes((features, labels, rows), start, BlockSizes(8, 128), interpret=True)
    expected = prequential_ridge(features, labels, rows, **start, impl="reference")
    assert max(gaps(got, expected).values()) < 1e-5


def test_two_registers_of_programs_side_by_side():
    args, start = instance(8, dim=2, awake=(0.7,) * 200, length=12)
    assert kernel_tpu_lanes.fitting(2, 200, BlockSizes(8, 256)).programs == 256
    got = _lanes(args, start, BlockSizes(8, 256), interpret=True)
    assert max(gaps(got, prequential_ridge(*args, **start, impl="reference")).values()) < 1e-5


def test_lanes_have_no_race_and_no_uninitialised_read(capfd):
    args, start = instance(9, dim=3, awake=(0.8, 0.0), length=12)
    strict = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    got = _lanes(args, start, BlockSizes(8, 128), interpret=strict)
    assert max(gaps(got, prequential_ridge(*args, **start, impl="reference")).values()) < 1e-5
    assert "RACE DETECTED" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_lanes_in_single_precision_are_as_good_as_the_recursion(x64, penalty):
    """Nearly parallel rows and a small penalty, where a block of 32 rows loses an order of magnitude."""
    rng = np.random.default_rng(0)
    features, labels = 1 + 0.01 * rng.normal(size=(60, 18)), rng.uniform(0, 1, 60)
    rows = jnp.asarray(rng.permutation(60)[None], jnp.int32)
    start = {"factor": np.eye(18)[None] / penalty, "weights": np.zeros((1, 18))}

    def at(dtype):
        return tuple(jnp.asarray(v, dtype) for v in (features, labels)), {
            k: jnp.asarray(v, dtype) for k, v in start.items()
        }

    table, exact = at(jnp.float64)
    exact = prequential_ridge(*table, rows, **exact, impl="reference")
    table, single = at(jnp.float32)
    recursion = gaps(prequential_ridge(*table, rows, **single, impl="reference"), exact)
    lanes = gaps(_lanes((*table, rows), single, BlockSizes(8, 128), interpret=True), exact)
    assert all(lanes[name] <= 3 * recursion[name] + 1e-6 for name in lanes), (lanes, recursion)


@pytest.mark.parametrize(
    ("programs", "dim", "module"),
    [(1, 25, kernel_tpu_tiles), (8, 25, kernel_tpu_lanes), (13, 96, kernel_tpu_tiles), (100, 96, kernel_tpu_lanes),
     (5000, 112, kernel_tpu_lanes), (5000, 130, kernel_tpu_tiles)],
)  # fmt: skip
def test_the_layout_follows_from_programs_and_width(programs, dim, module):
    chosen, sizes = kernel_tpu.layout(programs, dim, BlockSizes(32, 256))
    assert chosen is module
    assert chosen.vmem_bytes(dim, sizes) <= 14 << 20
    assert 32 % sizes.rows == 0


def test_trailing_blocks_of_padding_are_not_computed_but_answered():
    (features, labels, rows), start = instance(1, dim=5, awake=(0.9, 0.9, 0.9), length=40)
    rows = rows.at[:2, 9:].set(-1)
    got = prequential_ridge(features, labels, rows, **start, block_size=8, impl="pallas_interpret")
    expected = prequential_ridge(features, labels, rows, **start, impl="reference")
    assert max(gaps(got, expected).values()) < 1e-5
    assert jnp.all(got.pivot[:2, 9:] == 1)


def test_no_race_and_no_uninitialised_read(capfd):
    args, start = instance(2, dim=5, awake=(0.8, 0.4), length=16)
    strict = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    got = kernel_tpu.prequential_ridge(*args, *start.values(), sizes=BlockSizes(8, 2), interpret=strict)
    assert max(gaps(got, prequential_ridge(*args, **start, impl="reference")).values()) < 1e-5
    assert "RACE DETECTED" not in "".join(capfd.readouterr())


def _lowered(platform, impl=None, dtype=jnp.float32, transform=lambda f: f):
    args, start = instance(3, dim=18, awake=(0.5, 0.5))
    args = tuple(a.astype(dtype) if i < 2 else a for i, a in enumerate(args))
    start = {name: value.astype(dtype) for name, value in start.items()}
    run = transform(lambda labels: prequential_ridge(args[0], labels, args[2], **start, impl=impl).residual)
    labels = args[1] if transform(len) is len else jnp.stack([args[1]] * 2)
    return jax.jit(run).trace(labels).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("platform", "kernel"), [("cpu", False), ("cuda", False), ("tpu", True)])
def test_one_program_serves_every_platform(platform, kernel):
    assert ("tpu_custom_call" in _lowered(platform)) == kernel
    assert ("tpu_custom_call" in _lowered(platform, transform=functools.partial(jax.vmap))) == kernel


def test_double_precision_takes_the_other_path_on_a_tpu(x64):
    assert "tpu_custom_call" not in _lowered("tpu", dtype=jnp.float64)


def test_exports_for_a_tpu():
    args, start = instance(4, dim=18, awake=(0.5, 0.5))
    run = jax.jit(functools.partial(prequential_ridge, **start, impl="pallas_tpu"))
    assert "tpu_custom_call" in jax.export.export(run, platforms=["tpu"])(*args).mlir_module()


@pytest.mark.parametrize(
    ("dim", "options", "message"),
    [(5, {"block_size": 12}, "block_size=12 is not a multiple of 8"), (1200, {}, "d=1200 features are too many")],
)
def test_a_named_kernel_says_why_it_cannot(dim, options, message):
    args, start = instance(5, dim=dim, awake=(0.5,), length=8)
    with pytest.raises(
        NotImplementedError, match=rf"prequential_ridge\[pallas_tpu\]: {message}.*use impl=None or 'xla'"
    ):
        prequential_ridge(*args, **start, **options, impl="pallas_tpu")
