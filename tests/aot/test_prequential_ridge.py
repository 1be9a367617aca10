"""The kernel compiles for TPU slices that are not there, fits in VMEM, and scales without communication."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from pallas_kernels._blocks import BlockSizes
from pallas_kernels.prequential_ridge import kernel_tpu, prequential_ridge

pytestmark = pytest.mark.tpu_aot
SCOPED_VMEM = 16 << 20


def _devices(name):
    pytest.importorskip("libtpu", reason="libtpu is not installed (pip install jax[tpu]): no TPU compiler to test with")
    return topologies.get_topology_desc(platform="tpu", topology_name=name).devices


def _abstract(programs, dim, sharding, table_sharding, *, length=256, table=512):
    def place(shape, where, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    return (
        place((table, dim), table_sharding),
        place((table,), table_sharding),
        place((programs, length), sharding, jnp.int32),
        place((programs, dim, dim), sharding),
        place((programs, dim), sharding),
    )


def _run(features, labels, rows, factor, weights):
    return prequential_ridge(features, labels, rows, factor=factor, weights=weights)


@pytest.mark.parametrize(("chip", "dim"), [("v5e:2x2", 25), ("v5e:2x2", 96), ("v5e:2x2", 600), ("v6e:2x2", 96)])
def test_compiles_for_one_chip_and_fits_in_vmem(chip, dim):
    """Compilation itself fails where a grid step's blocks and scratch exceed the 16 MiB of scoped VMEM."""
    where = SingleDeviceSharding(_devices(chip)[0])
    compiled = jax.jit(_run).lower(*_abstract(8, dim, where, where)).compile()
    assert "tpu_custom_call" in compiled.as_text()
    assert kernel_tpu.vmem_bytes(dim, BlockSizes(32, 1)) < SCOPED_VMEM


def test_compiles_for_a_pod_without_communication():
    mesh = Mesh(np.array(_devices("v5e:16x16")), ("rep",))
    over, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("rep"), PartitionSpec()))
    spec = PartitionSpec("rep")
    run = jax.shard_map(_run, mesh=mesh, in_specs=(PartitionSpec(),) * 2 + (spec,) * 3, out_specs=spec, check_vma=False)
    text = jax.jit(run).lower(*_abstract(256 * 8, 96, over, whole)).compile().as_text()
    assert "tpu_custom_call" in text
    assert not [name for name in ("all-reduce", "all-gather", "all-to-all", "collective-permute") if f"{name}(" in text]


def test_a_replicate_axis_becomes_programs():
    where = SingleDeviceSharding(_devices("v5e:2x2")[0])
    features, labels, rows, factor, weights = _abstract(4, 25, where, where)
    many = jax.ShapeDtypeStruct((3, *rows.shape), rows.dtype, sharding=where)
    run = jax.vmap(functools.partial(_run), in_axes=(None, None, 0, None, None))
    assert "tpu_custom_call" in jax.jit(run).lower(features, labels, many, factor, weights).compile().as_text()
