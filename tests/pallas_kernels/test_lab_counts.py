"""Arithmetic of traced functions against counts by hand: loops, precisions, kernels, branches, shards."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from pallas_kernels._lab.counts import count

F32, BF16 = jnp.float32, jnp.bfloat16
DOT = 2 * 32 * 64 * 16  # [32, 64] times [64, 16]


def counted(fn, *shapes, dtype=F32, platform="tpu", devices=1):
    args = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    return count(jax.make_jaxpr(fn)(*args).jaxpr, platform, devices)


def dot(x, y, **how):
    return jnp.dot(x, y, **how)


@pytest.mark.parametrize(
    ("dtype", "precision", "passes"),
    [(F32, None, 1), (F32, "default", 1), (F32, "high", 3), (F32, "highest", 6), (BF16, "highest", 1), (BF16, None, 1)],
)
def test_products_are_weighted_by_the_passes_of_their_precision(dtype, precision, passes):
    with jax.default_matmul_precision("default"):  # what None stands for
        found = counted(lambda x, y: dot(x, y, precision=precision), (32, 64), (64, 16), dtype=dtype)
    assert found.products == DOT
    assert found.passes == passes * DOT
    assert found.flops == DOT


def test_batched_products_and_convolutions():
    assert counted(lambda x, y: jnp.einsum("bij,bjk->bik", x, y), (5, 32, 64), (5, 64, 16)).products == 5 * DOT
    image = counted(
        lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        (2, 10, 10, 3), (3, 3, 3, 7),
    )  # fmt: skip
    assert image.products == 2 * (2 * 8 * 8 * 7) * (3 * 3 * 3)


def test_loops_of_known_length_multiply():
    def nested(x, y):
        inner = lambda c, _: (c + dot(x, y), None)  # noqa: E731
        outer = lambda c, _: (lax.scan(inner, c, length=5)[0], None)  # noqa: E731
        return lax.scan(outer, jnp.zeros((32, 16)), length=7)[0]

    found = counted(nested, (32, 64), (64, 16))
    assert found.products == 35 * DOT
    assert found.elementwise == 35 * 32 * 16
    assert found.unknown_loops == 0
    assert counted(lambda x: lax.fori_loop(3, 20, lambda i, c: c * x, x), (8, 8)).elementwise >= 17 * 64


def test_a_loop_that_data_ends_is_counted_once_and_noted():
    found = counted(lambda x, y: lax.while_loop(lambda c: c.sum() > 0, lambda c: c + dot(x, y), jnp.zeros((32, 16))),
                    (32, 64), (64, 16))  # fmt: skip
    assert found.products == DOT
    assert found.unknown_loops == 1
    several = counted(
        lambda x: lax.scan(lambda c, _: (lax.while_loop(lambda d: d.sum() > 0, jnp.sin, c), None), x, length=9)[0], (4,)
    )
    assert (several.unknown_loops, several.transcendental) == (1, 9 * 4)


def test_of_several_branches_the_most_expensive_counts():
    found = counted(
        lambda x, y: lax.cond(x[0, 0] > 0, lambda: dot(x, y), lambda: jnp.zeros((32, 16))), (32, 64), (64, 16)
    )
    assert found.products == DOT


def test_of_several_platforms_that_of_the_target_counts():
    def several(x):
        return lax.platform_dependent(x, tpu=lambda v: jnp.exp(jnp.exp(v)), cuda=jnp.exp, default=lambda v: v + 1)

    def transcendental(platform):
        return counted(several, (10,), platform=platform).transcendental

    assert [transcendental(name) for name in ("tpu", "cuda", "cpu")] == [20, 10, 0]


def test_a_kernel_counts_once_for_each_step_of_its_grid():
    def kernel(x_ref, y_ref, o_ref):
        o_ref[...] = dot(x_ref[...], y_ref[...], precision="highest")

    def fn(x, y):
        return pl.pallas_call(
            kernel, grid=(4, 2), out_shape=jax.ShapeDtypeStruct((4 * 32, 2 * 16), F32),
            in_specs=[pl.BlockSpec((32, 64), lambda i, j: (i, 0)), pl.BlockSpec((64, 16), lambda i, j: (0, j))],
            out_specs=pl.BlockSpec((32, 16), lambda i, j: (i, j)),
        )(x, y)  # fmt: skip

    found = counted(fn, (4 * 32, 64), (64, 2 * 16))
    assert (found.products, found.passes) == (8 * DOT, 48 * DOT)


def test_work_is_per_device():
    mesh = AbstractMesh((8,), ("rep",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("rep")

    def local(x, y):
        return lax.scan(lambda c, _: (c + dot(x, y), None), jnp.zeros((32, 16)), length=3)[0]

    sharded = jax.shard_map(local, mesh=mesh, in_specs=(spec, PartitionSpec()), out_specs=spec, check_vma=False)
    assert counted(sharded, (8 * 32, 64), (64, 16), devices=8).products == 3 * DOT
    repeated = lambda x, y: lax.scan(lambda c, _: (c + sharded(x, y), None), jnp.zeros((256, 16)), length=2)[0]  # noqa: E731
    assert counted(jax.jit(repeated), (8 * 32, 64), (64, 16), devices=8).products == 6 * DOT
    assert counted(dot, (8 * 32, 64), (64, 16), devices=8).products == DOT


def test_gradients_and_checkpoints_count_what_they_run():
    def loss(x, y):
        return jax.checkpoint(dot)(x, y).sum()

    assert counted(dot, (32, 64), (64, 16)).products == DOT
    assert counted(jax.jit(jax.grad(loss, argnums=(0, 1))), (32, 64), (64, 16)).products >= 2 * DOT


def test_custom_derivatives_count_their_function_once():
    @jax.custom_vjp
    def square(x):
        return jnp.exp(x)

    square.defvjp(lambda x: (jnp.exp(x), x), lambda x, g: (g * jnp.exp(x),))
    assert counted(square, (10,)).transcendental == 10
    assert counted(lambda x: jax.nn.relu(x), (10,)).elementwise == 10


def test_reductions_and_functions_by_their_operands():
    found = counted(lambda x: jnp.exp(x).sum() + jnp.max(x), (8, 128))
    assert found.transcendental == 1024
    assert found.elementwise == 2 * 1024 + 1


def test_double_precision_is_noted(x64):
    assert counted(lambda x: x + 1, (4,), dtype=jnp.float64).double
    assert not counted(lambda x: x + 1, (4,)).double
