"""Programs compiled for devices that are not there: what does not fit, who talks to whom, how often what runs."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from pallas_kernels._lab import compile_for, cost, target

pytestmark = [pytest.mark.tpu_aot, pytest.mark.usefixtures("compiler")]
F32 = jnp.float32
SQUARE = jax.ShapeDtypeStruct((256, 256), F32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def doubled(x, block=None):
    """A kernel over blocks of rows, or over the whole."""

    def body(x_ref, o_ref):
        o_ref[...] = x_ref[...] * 2

    spec = pl.BlockSpec((block or x.shape[0], x.shape[1]), lambda i: (i, 0))
    grid = (x.shape[0] // (block or x.shape[0]),)
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return pl.pallas_call(body, grid=grid, in_specs=[spec], out_specs=spec, out_shape=out, name="doubled")(x)


def mesh_of(**axes):
    return AbstractMesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes))


@pytest.mark.parametrize("ask", [compile_for, cost])
def test_a_kernel_that_does_not_fit_in_vmem_is_named_with_what_is_missing(ask):
    found = ask(doubled, (jax.ShapeDtypeStruct((8192, 1024), F32),), "v5e")
    assert not found.fits
    assert found.why_not.startswith("VMEM: doubled.1 needs 64.00M, a kernel has 16.00M")
    assert "\n" not in found.why_not
    assert found.missing == 48 << 20
    assert found.cycles is found.seconds is None


def test_a_program_that_does_not_fit_in_hbm_says_by_how_much():
    found = compile_for(lambda x: jnp.sort(x, 0) + x, (jax.ShapeDtypeStruct((1 << 16, 1 << 15), F32),), "v5e")
    assert not found.fits
    assert found.why_not.startswith("HBM: ")
    assert "available 15.75G" in found.why_not
    assert found.missing >= (8 << 30)
    assert compile_for(lambda x: x + 1, (jax.ShapeDtypeStruct((1 << 16, 1 << 15), F32),), "v5p").fits


def over_the_pod(x):
    """A kernel per device, a sum over all of them, a row from each of a group."""
    y = doubled(x, 8)
    return y, lax.psum(y.sum(0), ("rep", "data")), lax.all_gather(y[:1], "data")


def sharded(mesh):
    every = PartitionSpec(tuple(mesh.shape))
    fn = jax.shard_map(
        over_the_pod,
        mesh=mesh,
        in_specs=every,
        out_specs=(every, PartitionSpec(), PartitionSpec("rep")),
        check_vma=False,
    )
    rows = 64 * mesh.size
    return fn, (jax.ShapeDtypeStruct((rows, 512), F32, sharding=NamedSharding(mesh, every)),)


def test_a_pod_has_its_collectives_and_what_each_device_holds():
    """The simulator ends on collectives of this slice or not, by compiler; there is an estimate either way."""
    mesh = mesh_of(rep=16, data=16)
    found = cost(*sharded(mesh), "v5e:16x16", mesh)
    assert found.fits
    assert found.devices == 256
    kinds = {one.kind: (one.calls, one.bytes, one.group) for one in found.collectives}
    assert kinds["all-reduce"][::2] == (1, 256)
    assert 512 * 4 <= kinds["all-reduce"][1] <= 2 * 512 * 4
    assert kinds["all-gather"] == (1, 16 * 512 * 4, 16)
    assert found.memory.arguments == 64 * 512 * 4
    assert found.flops == 64 * 512 + 64 * 512
    (kernel,) = found.kernels
    assert kernel.simulated
    assert kernel.cycles > 0
    assert found.method in ("simulated", "simulated in HBM", "kernels simulated")
    assert found.roofline.link > 0
    assert any("collectives are in the roofline" in caveat for caveat in found.caveats)


def test_several_slices_have_their_traffic_between_them():
    mesh = mesh_of(slice=4, rep=16, data=16)
    every = PartitionSpec(tuple(mesh.shape))

    def local(x):
        return lax.psum(x.sum(0), ("slice", "rep", "data")), lax.all_gather(x[:4], "slice")

    fn = jax.shard_map(local, mesh=mesh, in_specs=every, out_specs=PartitionSpec(), check_vma=False)
    x = jax.ShapeDtypeStruct((8 * 1024, 512), F32, sharding=NamedSharding(mesh, every))
    found = compile_for(fn, (x,), target("v5e:16x16", slices=4), mesh)
    assert found.fits
    assert (found.devices, found.target) == (1024, "4 slices of v5e:16x16")
    between = {one.kind: one for one in found.collectives if one.algorithm == "between slices"}
    assert set(between) == {"all-reduce", "all-gather"}
    assert {one.group for one in between.values()} == {4}
    assert between["all-gather"].bytes == 4 * 4 * 512 * 4
    within = [one for one in found.collectives if one.algorithm != "between slices"]
    assert {one.group for one in within} == {256}
    assert not [operation for operation in found.operations if operation.kind.startswith(("send", "recv"))]


def product(c, w):
    return jnp.tanh(c @ w)


def _rounds(found):
    """Executions of what holds the product."""
    return max(operation.calls for operation in found.operations if operation.kind == "fusion")


@pytest.mark.parametrize(
    ("rounds", "loop"),
    [
        (35, lambda c, w: lax.scan(lambda a, _: (lax.scan(lambda b, _: (product(b, w), None), a, length=5)[0], None),
                                   c, length=7)[0]),
        (17, lambda c, w: lax.fori_loop(3, 20, lambda i, a: product(a, w) + i, c)),
        (20, lambda c, w: lax.while_loop(lambda s: s[0] < 100, lambda s: (s[0] + 5, product(s[1], w)), (0, c))[1]),
        (13, lambda c, w: lax.while_loop(lambda s: s[0] > 0, lambda s: (s[0] - 1, product(s[1], w)), (13, c))[1]),
        (4, lambda c, w: lax.while_loop(lambda s: s[1] < 10, lambda s: (s[0] + 1, s[1] + 3, product(s[2], w)),
                                        (100, 0, c))[2]),
    ],
)  # fmt: skip
def test_compiled_loops_are_multiplied_out(rounds, loop):
    found = compile_for(loop, (SQUARE, SQUARE), "v5e")
    assert _rounds(found) == rounds
    assert not [caveat for caveat in found.caveats if caveat.startswith("loop")]


def test_compiled_loops_with_counters_of_64_bits_are_multiplied_out(x64):
    found = compile_for(lambda c, w: lax.fori_loop(3, 17, lambda i, a: product(a, w), c), (SQUARE, SQUARE), "v6e")
    assert _rounds(found) == 14
    assert not [caveat for caveat in found.caveats if caveat.startswith("loop")]


@pytest.mark.parametrize(
    ("rounds", "said", "loop"),
    [
        (1, "depends on data; counted once", lambda c, w, n: lax.fori_loop(n, 20, lambda i, a: product(a, w), c)),
        (1, "depends on data; counted once", lambda c, w, n: lax.while_loop(
            lambda s: s[0] < 100, lambda s: (s[0] + n, product(s[1], w)), (0, c))[1]),
        (30, "data can end it before its 30 rounds", lambda c, w, n: lax.while_loop(
            lambda s: (s[0] < 30) & (s[1][0, 0] > 0.1), lambda s: (s[0] + 1, product(s[1], w)), (0, c))[1]),
    ],
)  # fmt: skip
def test_compiled_loops_that_data_ends_say_so(rounds, said, loop):
    found = compile_for(loop, (SQUARE, SQUARE, jax.ShapeDtypeStruct((), jnp.int32)), "v5e")
    assert _rounds(found) == rounds
    (caveat,) = [caveat for caveat in found.caveats if caveat.startswith("loop")]
    assert said in caveat


def test_kernels_called_twice_and_in_loops_count_as_often_as_they_run():
    x = jax.ShapeDtypeStruct((1024, 512), F32)
    twice = cost(lambda x: doubled(doubled(x, 128) + 1, 128), (x,), "v5e")
    assert [(kernel.calls, kernel.simulated) for kernel in twice.kernels] == [(1, True), (1, True)]
    assert all(kernel.bundles for kernel in twice.kernels)
    seven = cost(lambda x: lax.scan(lambda c, _: (doubled(c, 128), None), x, length=7)[0], (x,), "v5e")
    (kernel,) = seven.kernels
    assert kernel.calls == 7
    assert seven.cycles >= 7 * kernel.cycles


def test_different_kernels_of_one_name_and_shape_keep_their_own_cycles_where_the_simulator_stops():
    """On tpu7x the simulator can end after the first; the second must not get the first's schedule."""

    def heavy(x_ref, o_ref):
        y = x_ref[...]
        for _ in range(64):
            y = y * x_ref[...] + 0.5
        o_ref[...] = y

    def fn(x, y):
        many = pl.pallas_call(heavy, out_shape=SQUARE, name="doubled")(x)
        return many, doubled(y)

    slow, quick = sorted((kernel.cycles for kernel in cost(fn, (SQUARE, SQUARE), "tpu7x").kernels), reverse=True)
    assert slow > 1.5 * quick


def test_a_donated_argument_is_reused_and_a_constant_is_part_of_the_program():
    x = jax.ShapeDtypeStruct((1024, 512), F32)
    found = compile_for(jax.jit(lambda a, b: (a + 1, b * 2), donate_argnums=0), (x, x), "v5e")
    assert found.memory.aliased == 4 * 1024 * 512
    table = jnp.arange(65536.0).reshape(256, 256)
    assert compile_for(lambda a: a @ table, (SQUARE,), "v5e").fits


def test_double_precision_and_typed_keys_compile(x64):
    double = jax.ShapeDtypeStruct((256, 256), jnp.float64)
    found = compile_for(lambda a: a @ a, (double,), "v5e")
    assert found.fits
    assert any("float64 is emulated" in caveat for caveat in found.caveats)
    assert found.bytes == 2 * 8 * 256 * 256
    key = jax.eval_shape(lambda: jax.random.key(0))
    assert compile_for(lambda k, a: a + jax.random.normal(k, a.shape, F32), (key, SQUARE), "v6e").fits


def test_a_compiler_that_takes_too_long_is_one_line():
    with pytest.raises(ValueError, match=r"^fn_of_mine on v5e: the compiler did not finish within 0 s\.$"):
        compile_for(fn_of_mine, (SQUARE,), "v5e", timeout=0.2)


def fn_of_mine(x):
    return x + 1
