"""The kernel in the programs around it: wide states, a pod, a replicate axis."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from pallas_kernels._blocks import BlockSizes
from pallas_kernels._lab import compile_for
from pallas_kernels.prequential_ridge import kernel_tpu, prequential_ridge

pytestmark = [pytest.mark.tpu_aot, pytest.mark.usefixtures("compiler")]
SCOPED_VMEM = 16 << 20


def _abstract(programs, dim, mesh=None, *, length=256, table=512):
    whole, over = (None, None) if mesh is None else (NamedSharding(mesh, P()), NamedSharding(mesh, P("rep")))

    def place(shape, sharding, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    return (
        place((table, dim), whole),
        place((table,), whole),
        place((programs, length), over, jnp.int32),
        place((programs, dim, dim), over),
        place((programs, dim), over),
    )


def _run(features, labels, rows, factor, weights):
    return prequential_ridge(features, labels, rows, factor=factor, weights=weights)


@pytest.mark.parametrize("dim", [25, 600])
def test_states_of_any_width_fit_in_vmem(dim):
    """Compilation itself fails where a grid step's blocks and scratch exceed the 16 MiB of scoped VMEM."""
    report = compile_for(_run, _abstract(8, dim), "v5e")
    assert report.fits, report.why_not
    (kernel,) = report.kernels
    assert kernel.vmem <= SCOPED_VMEM
    assert kernel_tpu.vmem_bytes(dim, BlockSizes(32, 1)) < SCOPED_VMEM


def test_a_pod_does_not_communicate():
    mesh = AbstractMesh((256,), ("rep",), axis_types=(AxisType.Auto,))
    specs = (P(), P(), P("rep"), P("rep"), P("rep"))
    run = jax.shard_map(_run, mesh=mesh, in_specs=specs, out_specs=P("rep"), check_vma=False)
    report = compile_for(run, _abstract(256 * 8, 96, mesh), "v5e:16x16", mesh)
    assert report.kernels
    assert report.collectives == ()


def test_a_replicate_axis_becomes_programs():
    features, labels, rows, factor, weights = _abstract(4, 25)
    many = jax.ShapeDtypeStruct((3, *rows.shape), rows.dtype)
    run = jax.vmap(_run, in_axes=(None, None, 0, None, None))
    assert len(compile_for(run, (features, labels, many, factor, weights), "v5e").kernels) == 1
