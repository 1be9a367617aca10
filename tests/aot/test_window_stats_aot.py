"""Layouts of window pooling that no budget is kept for compile, in both directions."""

import functools

import jax
import jax.numpy as jnp
import pytest

from pallas_kernels._lab import compile_for
from pallas_kernels.window_stats import window_stats

pytestmark = pytest.mark.tpu_aot

OVER_THE_BORDER = {"window": (3, 3), "strides": (2, 2), "padding": ((1, 1), (1, 1))}
SIDE_BY_SIDE = {"window": (2, 2), "strides": (2, 2)}


@pytest.mark.parametrize("chip", ["v5e", "v6e"])
@pytest.mark.parametrize(
    ("kind", "options", "shape", "dtype"),
    [
        pytest.param("soft", OVER_THE_BORDER, (32, 14, 14, 64), jnp.bfloat16, id="sixteen bits, two images a row"),
        pytest.param("max", SIDE_BY_SIDE, (16, 7, 7, 64), jnp.float32, id="two images a row"),
        pytest.param("avg", OVER_THE_BORDER, (8, 14, 14, 256), jnp.bfloat16, id="sixteen bits, sums"),
        pytest.param("max", OVER_THE_BORDER, (9, 14, 14, 40), jnp.bfloat16, id="sixteen bits, odd sizes"),
    ],
)
def test_both_directions_compile(compiler, kind, options, shape, dtype, chip):
    run = functools.partial(window_stats, kind=kind, **options)
    parameters = (jax.ShapeDtypeStruct(shape[-1:], jnp.float32),) if kind == "soft" else ()

    def both(x, cotangent, *theta):
        y, pull = jax.vjp(run, x, *theta)
        return y, pull(cotangent)

    x = jax.ShapeDtypeStruct(shape, dtype)
    cotangent = jax.eval_shape(run, x, *parameters)
    report = compile_for(both, (x, cotangent, *parameters), chip)
    assert report.fits, report.why_not
    assert len(report.kernels) == 2
