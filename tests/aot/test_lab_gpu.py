"""Programs compiled for an H100 that is not there: what the compiler says of each kernel."""

import concurrent.futures

import jax
import jax.numpy as jnp
import pytest
from jax import export
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, NamedSharding, PartitionSpec

from pallas_kernels._lab import gpu
from pallas_kernels._lab.report import LabError
from pallas_kernels.prequential_ridge import prequential_ridge

pytestmark = [
    pytest.mark.tpu_aot,
    # Deprecated from jax 0.12 on. Only these tests use it: as kernels of known size, not as part of the library.
    pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning"),
]
TRITON = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")


def _need_compiler():
    """Skips, always from this line: pytest then folds the skipped tests into one line of its summary."""
    if (why_not := gpu.available()) is not None:
        pytest.skip(why_not)


def _shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def _exported(function, *args, platform="cuda", **jit_options):
    """As bytes, with results in a flat tuple; Pallas asks for the kind of device while it lowers."""
    _need_compiler()
    kind = AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=None, platform="gpu")
    one = AbstractMesh((1,), ("device",), axis_types=(AxisType.Auto,), abstract_device=kind)
    flat = jax.jit(lambda *args: jax.tree.leaves(function(*args)), **jit_options)
    with jax.sharding.use_abstract_mesh(one):
        return export.export(flat, platforms=[platform], disabled_checks=[TRITON])(*args).serialize()


def _product(left, right):
    return jnp.tanh(left @ right).sum(axis=0)


def _pallas(body, out, *, grid=(), **specs):
    options = {"compiler_params": triton.CompilerParams(), "name": "pallas_kernel"}
    return pl.pallas_call(body, out_shape=out, grid=grid, **options, **specs)


def _softmax(rows):
    def body(x_ref, out_ref):
        out_ref[...] = jax.nn.softmax(x_ref[...], axis=-1)

    block = pl.BlockSpec((rows, 512), lambda i: (i, 0))
    return _pallas(body, _shape(512, 512), grid=(512 // rows,), in_specs=[block], out_specs=block)


def test_a_matrix_product_and_a_reduction_compile_without_spills():
    report = gpu.compile(_exported(_product, _shape(512, 256), _shape(256, 128)), name="product")
    assert report.why_not is None
    assert (report.target, report.devices, report.libraries) == ("h100", 1, ())
    assert report.memory.arguments == 4 * (512 * 256 + 256 * 128)
    assert report.memory.outputs == 4 * 128
    assert any("default tiles" in caveat for caveat in report.caveats)
    assert report.kernels
    for kernel in report.kernels:
        assert kernel.registers > 0
        assert kernel.spills == 0
        assert kernel.instructions > 0
        assert kernel.launches == 1
        assert kernel.resident >= 1
        assert 0 < kernel.occupancy <= 1
    assert max(kernel.shared_memory for kernel in report.kernels) > 0  # the reduction across warps


def test_shared_memory_of_a_transpose_is_its_padded_tile():
    report = gpu.compile(_exported(lambda x: 2 * x.T, _shape(512, 256)), name="transpose")
    (kernel,) = report.kernels
    assert kernel.shared_memory == 32 * 33 * 4  # one column of padding avoids bank conflicts
    assert kernel.blocks == 512 * 256 // 32**2


def test_a_kernel_with_too_large_blocks_is_caught_spilling():
    """64 rows of 512 for 128 threads are 256 values for each, and a thread has at most 255 registers."""
    small, large = (gpu.compile(_exported(_softmax(rows), _shape(512, 512)), name="softmax") for rows in (8, 64))
    assert [kernel.name for kernel in (*small.kernels, *large.kernels)] == ["pallas_kernel"] * 2
    small, large = small.kernels[0], large.kernels[0]
    assert (small.spills, small.blocks, small.stack) == (0, 64, 0)
    assert large.spill_stores > 0
    assert large.spill_loads > 0
    assert (large.registers, large.blocks, large.limit) == (255, 8, "registers")
    assert large.occupancy == 0.125  # 8 warps of 64: a partition's 16384 registers hold two warps of 256 x 32
    assert large.instructions > 5 * small.instructions


def test_dynamic_shared_memory_beyond_the_limit_is_a_reason():
    def body(left_ref, right_ref, out_ref):
        out_ref[...] = jnp.dot(left_ref[...], right_ref[...], preferred_element_type=jnp.float32)

    square = _shape(256, 256, dtype=jnp.bfloat16)
    report = gpu.compile(_exported(_pallas(body, _shape(256, 256)), square, square), name="dot")
    assert "Shared memory size limit exceeded: requested 262144, available: 232448" in report.why_not
    assert "\n" not in report.why_not
    assert not report.fits


def test_the_project_s_ridge_compiles():
    """The lockstep form: XLA's kernels, and two routines of libraries whose kernels the report cannot see."""
    programs, dim = 6, 25
    args = (_shape(512, dim), _shape(512), _shape(programs, 256, dtype=jnp.int32),
            _shape(programs, dim, dim), _shape(programs, dim))  # fmt: skip

    def ridge(features, labels, rows, factor, weights):
        return prequential_ridge(features, labels, rows, factor=factor, weights=weights)

    report = gpu.compile(_exported(ridge, *args), name="prequential_ridge")
    assert report.fits
    assert report.libraries == ("__cublas$triangularSolve", "cusolver_potrf_ffi")
    assert any("Library routines" in caveat for caveat in report.caveats)
    assert len(report.kernels) > 5
    assert {kernel.spills for kernel in report.kernels} == {0}
    assert all(kernel.occupancy > 0 for kernel in report.kernels)


def test_a_program_that_exceeds_memory_does_not_fit():
    report = gpu.compile(_exported(lambda a, b: a @ b, *[_shape(100_000, 100_000)] * 2), name="large")
    assert report.why_not == "it needs 111.8 GiB of memory on each device, NVIDIA H100 80GB HBM3 has 79.1 GiB"


def test_a_sharded_program_compiles_for_eight_devices():
    _need_compiler()
    mesh = AbstractMesh((2, 4), ("rep", "data"), axis_types=(AxisType.Auto,) * 2)
    both = PartitionSpec(("rep", "data"))
    total = jax.shard_map(
        lambda x: jax.lax.psum(jnp.exp(x).sum(), ("rep", "data")), mesh=mesh, in_specs=both, out_specs=PartitionSpec(),
        check_vma=False,
    )  # fmt: skip
    flat = jax.jit(total, in_shardings=NamedSharding(mesh, both))
    exported = export.export(flat, platforms=["cuda"])(_shape(1024, 512)).serialize()
    report = gpu.compile(exported, name="total", axes=mesh.shape.items())
    assert report.fits
    assert report.devices == 8
    assert report.memory.arguments == 4 * 1024 * 512 // 8
    assert any("Communication" in caveat for caveat in report.caveats)
    with pytest.raises(LabError, match=r"^total: axes are those of 1 devices, but it was exported for 8\.$"):
        gpu.compile(exported, name="total")


def test_64_bit_types_and_donation_reach_the_compiler():
    with jax.enable_x64(True):
        exported = _exported(lambda x: x + 1, _shape(1024, dtype=jnp.float64))
    assert gpu.compile(exported, name="f").memory.arguments == 8 * 1024
    assert gpu.compile(exported, name="f", donated=(0,)).memory.aliased == 8 * 1024


def test_two_runs_at_once_agree_to_the_last_instruction():
    exported = _exported(_product, _shape(512, 256), _shape(256, 128))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda name: gpu.compile(exported, name=name), ("first", "second"))
    assert first.kernels == second.kernels
    assert first.memory == second.memory


@pytest.mark.parametrize("target", ["h200", "a100"])
def test_the_other_targets_compile(target):
    report = gpu.compile(_exported(_softmax(8), _shape(512, 512)), name="softmax", target=target)
    assert report.fits
    assert report.target == target
    assert report.kernels[0].occupancy == 0.5625  # as on an H100: the same registers for 56 of them to a thread


def test_what_cannot_be_compiled_for_a_gpu_is_one_line():
    _need_compiler()
    with pytest.raises(LabError, match=r"^f: not a serialized jax\.export \(.*\)\.$"):
        gpu.compile(b"hello", name="f")
    with pytest.raises(LabError, match=r"^f: exported for tpu, not for cuda\.$"):
        gpu.compile(_exported(jnp.sin, _shape(8), platform="tpu"), name="f")
    (size,) = export.symbolic_shape("n")
    with pytest.raises(LabError, match=r"^f: argument 0 has the symbolic shape float32\[n\]; give it fixed sizes\.$"):
        gpu.compile(_exported(jnp.sin, _shape(size)), name="f")
