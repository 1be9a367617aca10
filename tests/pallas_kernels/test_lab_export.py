"""A program's hash is of the program alone."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from pallas_kernels._lab.export import export

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (extra tpu): nothing to export with")
X = jax.ShapeDtypeStruct((32, 128), jnp.float32)


def double(factor):
    def body(x_ref, out_ref):
        out_ref[...] = factor * x_ref[...]

    return lambda x: pl.pallas_call(body, out_shape=X, grid=(1,), name="double")(x)


def test_where_a_kernel_is_called_from_makes_no_other_program():
    here = export(double(2), (X,)).digest
    there = export(double(2), (X,)).digest
    assert there == here
    assert export(double(3), (X,)).digest != here
