"""The laboratory's inputs and outputs: targets, reports, cache, and one clear line for whatever is wrong.

None of it needs the compiler; `tests/aot/test_lab_*.py` has what does.
"""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from pallas_kernels import _lab
from pallas_kernels._lab import cache, child, chips, costing, process, report
from pallas_kernels._lab.export import export
from pallas_kernels._lab.report import Collective, LabError, Memory, Operation, Report, Roofline

F32 = jnp.float32
X = jax.ShapeDtypeStruct((16, 128), F32)


def line_of(error: pytest.ExceptionInfo) -> str:
    """The message, which is one line and not too long for a terminal's screen."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize(
    ("text", "devices", "topology"),
    [
        ("v5e", 1, "v5e:2x2"), ("v5e:16x16", 256, "v5e:16x16"), ("v6e:2x4", 8, "v6e:2x4"),
        ("v5p", 1, "v5p:2x2x1"), ("v5p:16x20x28", 8960, "v5p:16x20x28"), ("v5p:4x4x4", 64, "v5p:4x4x4"),
        ("tpu7x:2x2x1", 8, "tpu7x:2x2x1"), ("tpu7x:16x16x36", 18432, "tpu7x:16x16x36"), ("v4:2x2x1", 8, "v4:2x2x1"),
    ],
)  # fmt: skip
def test_targets(text, devices, topology):
    found = chips.target(text)
    assert (found.devices, found.topology, str(found)) == (devices, topology, text)
    assert text in chips.slices_of(found.chip.name) or devices == 1


def test_several_slices():
    four = chips.target("v5e:16x16", slices=4)
    assert four.devices == 1024
    assert str(four) == "4 slices of v5e:16x16"


@pytest.mark.parametrize(
    ("text", "slices", "said"),
    [
        ("v7x", 1, "target must name a chip, one of v4, v5e, v5p, v6e, tpu7x"),
        ("", 1, "target must name a chip"),
        ("v5e-256", 1, "target must name a chip"),
        ("v5litepod:16x16", 1, "target must name a chip"),
        ("v5e:3x3", 1, "'v5e:3x3' is not a slice of v5e; there are v5e:2x2, v5e:2x4, v5e:4x4"),
        ("v5e:16x32", 1, "is not a slice of v5e"),
        ("v5e:1x1", 1, "is not a slice of v5e"),
        ("v5e:", 0, "slices must be >= 1"),
        ("v5e:4x4x4", 1, "is not a slice of v5e"),
        ("v5e:ax4", 1, "is not a slice of v5e"),
        ("v5e:04x4", 1, "is not a slice of v5e"),
        ("v5p:4x4", 1, "is not a slice of v5p; there are v5p:2x2x1"),
        ("v5p:16x20x32", 1, "is not a slice of v5p"),
        ("v5p:28x20x16", 1, "is not a slice of v5p"),
        ("v5e:4x4", 0, "slices must be >= 1, and 1 for a single device, got 0 of 'v5e:4x4'"),
        ("v5e", 2, "slices must be >= 1, and 1 for a single device, got 2 of 'v5e'"),
    ],
)
def test_targets_that_nobody_can_rent(text, slices, said):
    with pytest.raises(LabError) as error:
        chips.target(text, slices)
    assert said in line_of(error)


def test_every_chip_has_the_numbers_that_a_roofline_needs():
    for chip in chips.CHIPS.values():
        assert all(slot >= 1 for slot in chip.slots)
        assert chip.clock * chip.bandwidth * chip.flops * chip.links > 0
        # The published peak is what the matrix units of one clock can do: whole multiples of 128 x 128 of them.
        units = chip.flops / chip.clock / (2 * 128 * 128)
        assert units / chip.tensor_cores == pytest.approx(round(units / chip.tensor_cores), rel=0.02)
        assert chip.cycles(chip.bandwidth) == pytest.approx(chip.clock)


FULL = Report(
    target="v5e", devices=1, compiler="libtpu 1", program="abc", why_not=None,
    memory=Memory(10, 20, 5, 7, 3, 100), missing=0,
    operations=(
        Operation("k.1", "kernel", 3.0, 100.0, True, 1.0, 2.0, 5, 7, 0, 0, {"MXU": 0.5}),
        Operation("copy", "copy", 1.0, None),
    ),
    collectives=(Collective("r", "all-reduce", 2.0, 512, 4, "ring"),),
    flops=8.0, passes=48.0, bytes=30.0, roofline=Roofline(1e-6, 2e-6, 0.0), cycles=300.0, clock=1e9, method="simulated",
    caveats=("one",), lower_seconds=0.1, compile_seconds=0.2, host_bytes=9,
)  # fmt: skip
REFUSED = FULL._replace(
    why_not="HBM: too small", memory=None, roofline=None, cycles=None, operations=(), collectives=()
)


@pytest.mark.parametrize("whole", [FULL, REFUSED])
def test_a_report_survives_json(whole):
    assert report.from_json(report.to_json(whole)) == whole
    json.loads(report.to_json(whole), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_report_of_another_version_is_an_error_and_not_a_guess():
    plain = json.loads(report.to_json(FULL))
    with pytest.raises(TypeError):
        report.from_json(json.dumps(plain | {"colour": "blue"}))
    with pytest.raises(TypeError):
        report.from_json(json.dumps({key: value for key, value in plain.items() if key != "clock"}))


def test_what_a_report_derives():
    assert FULL.fits
    assert FULL.memory.total == 35
    assert FULL.estimate == pytest.approx(3e-7)
    assert FULL.seconds == pytest.approx(2e-6)
    assert (FULL.bound, FULL.of_roofline) == ("mxu", 1.0)
    slow = FULL._replace(cycles=8000.0)
    assert (slow.bound, slow.of_roofline) == ("schedule", pytest.approx(0.25))
    assert [kernel.name for kernel in FULL.kernels] == ["k.1"]
    assert not REFUSED.fits
    assert REFUSED.seconds is REFUSED.bound is REFUSED.of_roofline is None


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "equipoise" / "lab"


def test_the_cache_keeps_reports(cached):
    name = cache.key("cost", "program", "v5e", "libtpu 1")
    assert cache.load(name, report.from_json) is None
    cache.store(name, report.to_json(FULL))
    assert cache.load(name, report.from_json) == FULL
    assert [path.name for path in cached.iterdir()] == [f"{name}.json"]


@pytest.mark.parametrize("garbage", ["", "{", "[]", "null", "3", '"text"', "{}", '{"target": "v5e"}', "\x00\xff"])
def test_a_damaged_entry_is_none_and_is_replaced(cached, garbage):
    cached.mkdir(parents=True)
    (cached / "name.json").write_text(garbage)
    assert cache.load("name", report.from_json) is None
    cache.store("name", report.to_json(FULL))
    assert cache.load("name", report.from_json) == FULL


def test_an_entry_that_is_not_text_is_none(cached):
    cached.mkdir(parents=True)
    (cached / "name.json").write_bytes(b"\xff\xfe\x00")
    assert cache.load("name", report.from_json) is None


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "equipoise").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.store("name", report.to_json(FULL))
    assert cache.load("name", report.from_json) is None


def test_every_part_of_a_question_makes_another_entry():
    parts = ("cost", "program", "v5e", "libtpu 1")
    keys = {cache.key(*parts[:i], "other", *parts[i + 1 :]) for i in range(4)} | {cache.key(*parts)}
    assert len(keys) == 5
    assert cache.key("ab", "c") != cache.key("a", "bc")


VMEM = """RESOURCE_EXHAUSTED: E1001: CompileTimeScopedVmemOom: Ran out of memory in memory space vmem while allocating
on stack for %big.1 = f32[8192,1024]{1,0:T(8,128)} custom-call(%x). Scoped allocation with size 64.00M and limit 16.00M
exceeded scoped vmem limit by 48.00M."""
HBM = """RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: XLA:TPU compile permanent error. Ran out of memory in memory
space hbm: the total memory on HBM, required for arguments (40.00G) exceeds available HBM (15.75G). Largest program"""


def test_refusals_say_by_how_much():
    found = child._refusal(VMEM)
    assert found["missing"] == 48 << 20
    assert found["error"].startswith("VMEM: big.1 needs 64.00M, a kernel has 16.00M")
    found = child._refusal(HBM)
    assert found["missing"] == round(24.25 * (1 << 30))
    assert "40.00G, available 15.75G" in found["error"]


@pytest.mark.parametrize(
    "text", ["INTERNAL: Mosaic failed\n  to compile   it\nat line 3", "\n \nINTERNAL: Mosaic failed", ""]
)
def test_other_refusals_are_their_first_line(text):
    found = child._refusal(text)
    assert found["missing"] == 0
    assert found["error"] == ("INTERNAL: Mosaic failed" if text else "no message")


@pytest.mark.parametrize(
    ("stderr", "code", "said"),
    [
        ("I0101 x\nF1122 05:19:58.849396  2248 llo_module.cc:66] Check failed: a ==   b \n*** stack", -6,
         "Check failed: a == b"),
        ("E1122 05:18:26.1 32167 process_state.cc:708] RAW: Raising signal 11", -11, "SIGSEGV"),
        ("Traceback\n  File\nValueError: no such mesh\n", 1, "ValueError: no such mesh (exit code 1)"),
        ("", 3, "no message (exit code 3)"),
    ],
)  # fmt: skip
def test_why_a_child_died_is_one_line_without_process_numbers(stderr, code, said):
    assert process._last_words(stderr, code) == said


def untraceable(x):
    return x + 1 if x.sum() > 0 else x


def kernel_with_blocks(shape):
    def body(x_ref, o_ref):
        o_ref[...] = x_ref[...] * 2

    def fn(x):
        spec = pl.BlockSpec(shape, lambda i: (i, 0))
        return pl.pallas_call(body, out_shape=X, grid=(4,), in_specs=[spec], out_specs=spec)(x)

    return fn


def unlowerable(x):
    def body(x_ref, o_ref):
        o_ref[...] = jnp.sort(x_ref[...], axis=-1)

    return pl.pallas_call(body, out_shape=X)(x)


def over(mesh):
    return jax.shard_map(jnp.sin, mesh=mesh, in_specs=PartitionSpec("rep"), out_specs=PartitionSpec("rep"))


def mesh_of(devices):
    return AbstractMesh((devices,), ("rep",), axis_types=(AxisType.Auto,))


@pytest.mark.parametrize(
    ("fn", "args", "said"),
    [
        (untraceable, (X,), "fn untraceable cannot be traced: TracerBoolConversionError"),
        (jax.jit(untraceable), (X,), "fn untraceable cannot be traced: TracerBoolConversionError"),
        (lambda x: x.no_such_method(), (X,), "fn <lambda> cannot be traced: AttributeError"),
        (jnp.sin, (X, X), "fn sin cannot be traced: TypeError"),
        (jnp.sin, (object(),), "args[0] must be an array or a jax.ShapeDtypeStruct, got object"),
        (jnp.sin, ({"a": {"b": "text"}},), "args[0]['a']['b'] must be an array or a jax.ShapeDtypeStruct, got str"),
        (jnp.sin, (jax.ShapeDtypeStruct((math.nan, 4), F32),), "args[0] must have a fixed shape, got (nan, 4)"),
        (unlowerable, (X,), "fn unlowerable cannot be lowered for tpu: NotImplementedError"),
        (kernel_with_blocks((4, 100)), (X,), "fn fn cannot be lowered for tpu: ValueError: The Pallas TPU lowering"),
        (over(mesh_of(4)), (X,), "mesh must be the one that fn sin is sharded over, 4 devices, got 1"),
    ],
)
def test_what_cannot_be_exported_is_one_line_that_names_the_argument(fn, args, said):
    with pytest.raises(LabError) as error:
        export(fn, args)
    assert said in line_of(error)


def test_a_symbolic_size_is_one_line():
    (rows,) = jax.export.symbolic_shape("rows")
    with pytest.raises(LabError) as error:
        export(jnp.sin, (jax.ShapeDtypeStruct((rows, 4), F32),))
    assert "args[0] must have a fixed shape, got (rows, 4): compile once per size, or pad to the largest." in line_of(
        error
    )


@pytest.mark.parametrize("devices", [4, 16])
def test_a_mesh_of_another_size_than_the_target_is_one_line(devices, monkeypatch):
    monkeypatch.setattr(process, "compiler", lambda: "libtpu 0")
    mesh = mesh_of(devices)
    x = jax.ShapeDtypeStruct(X.shape, F32, sharding=NamedSharding(mesh, PartitionSpec("rep")))
    for target in ("v5e:2x4", "v5e"):
        with pytest.raises(LabError) as error:
            costing.compile_for(over(mesh), (x,), target, mesh)
        assert f"devices, and the mesh of fn sin has {devices}." in line_of(error)


def test_without_the_compiler_the_extra_to_install_is_named(monkeypatch):
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    for ask in (_lab.compile_for, _lab.cost):
        with pytest.raises(LabError) as error:
            ask(jnp.sin, (X,), "v5e")
        assert "pip install -e '.[tpu]'" in line_of(error)


def test_donated_arguments_are_found_in_nested_arguments():
    def fn(state, x):
        return {"a": state["a"] + x, "b": state["b"]}, x.sum()

    state = {"a": X, "b": X}
    assert export(fn, (state, X)).donated == ()
    assert export(jax.jit(fn, donate_argnums=0), (state, X)).donated == (0, 1)
    assert export(jax.jit(fn, donate_argnums=1), (state, X)).donated == (2,)


def test_the_hash_is_of_what_is_compiled():
    digest = export(jnp.sin, (X,)).digest
    assert export(lambda x: jnp.sin(x), (X,)).digest != export(lambda x: jnp.cos(x), (X,)).digest
    assert export(jnp.sin, (jax.ShapeDtypeStruct((8, 128), F32),)).digest != digest
    assert export(jax.jit(jnp.sin, donate_argnums=0), (X,)).digest != digest
    mesh = mesh_of(4)
    assert export(over(mesh), (X,), mesh=mesh).digest != digest


@pytest.mark.parametrize("given", [X, jnp.ones(X.shape)])
def test_arguments_without_a_sharding_are_on_every_device(given):
    mesh = mesh_of(4)
    found = export(over(mesh), (given,), mesh=mesh)
    whole = jax.ShapeDtypeStruct(X.shape, F32, sharding=NamedSharding(mesh, PartitionSpec()))
    assert found.digest == export(over(mesh), (whole,), mesh=mesh).digest
    assert found.axes == (("rep", 4),)
    assert found.counts.flops == 4 * 128


def test_typed_keys_concrete_arrays_and_python_numbers_are_arguments():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Problem:
        key: jax.Array
        x: jax.Array

    def fn(problem, scale):
        return problem.x * scale + jax.random.normal(problem.key, problem.x.shape)

    problem = Problem(jax.eval_shape(lambda: jax.random.key(0)), jnp.ones((4, 4)))
    assert export(fn, (problem, 2.0)).counts.flops > 0
