"""The ahead-of-time command with the TPU's compiler: programs sharded over slices, refusals, and its end."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from experiments import aot
from experiments.lib import aot_jobs, aot_sweep
from experiments.lib.config import CHECKOUT
from pallas_kernels import _blocks, _discover
from pallas_kernels._lab import compile_for, target
from pallas_kernels._lab.case import Case

pytestmark = pytest.mark.tpu_aot
F32 = jnp.float32
#: One method and short chunks: what is compiled three times by the first test.
SMALL = (
    "--config=configs/regret/medical_pod.py", "--config.algo.methods=('baseline',)", "--config.run.chunk=32",
)  # fmt: skip


@pytest.fixture
def said(compiler, capsys):
    """Runs the command; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        capsys.readouterr()
        code = aot.main(list(arguments))
        return code, *capsys.readouterr()

    return run


def test_a_program_is_costed(said):
    code, out, err = said(*SMALL, "--topology=v5e:4x4", "--config.run.replicates=16", "--csv=-")
    assert (code, err) == (0, "")
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["devices"], row["kernels"], row["fits"], row["bound"]) == ("16", "1", "True", "schedule")
    assert 0 < float(row["roofline_seconds"]) < float(row["chunk_seconds"])
    assert float(row["run_seconds"]) == pytest.approx(1344 / 32 * float(row["chunk_seconds"]))
    assert 0 < int(row["total_bytes"]) < int(row["available_bytes"])


def test_topologies_and_xla_alone_are_a_line_each(said):
    pods = ("--topology=v5e:16x16,v5e:16x16", "--slices=1,4", "--config.run.replicates=1024")
    code, out, err = said(*SMALL, *pods, "--compare=xla", "--compile_only", "--json=-")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [one["report"]["devices"] for one in found] == [256, 256, 1024, 1024]
    assert [one["summary"]["kernels"] for one in found] == [1, 0, 1, 0]
    assert found[2]["report"]["target"] == "4 slices of v5e:16x16"
    assert {one["report"]["method"] for one in found} == {"none"}


def test_a_program_that_does_not_fit_says_by_how_much(said):
    code, out, err = said(*SMALL, "--config.run.replicates=4000000", "--topology=v5e:2x2", "--compile_only")
    assert code == 1
    assert "no, by " in out
    assert "on v5e:2x2: HBM: " in err
    assert err.count("\n") == 1


def _case(fn, shape=(256, 128), **kwargs):
    return Case("only", fn, (jax.ShapeDtypeStruct(shape, F32),), peer=fn, **kwargs)


def _scale(rows):
    def body(x_ref, out_ref):
        out_ref[...] = 2 * x_ref[...]

    def call(x):
        block = pl.BlockSpec((rows, 128), lambda i: (i, 0))
        out = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return pl.pallas_call(body, out_shape=out, grid=(x.shape[0] // rows,), in_specs=[block], out_specs=block)(x)

    return call


def _fake(monkeypatch, **attributes):
    module = types.SimpleNamespace(**attributes)
    monkeypatch.setattr(_discover, "load", lambda kernel, part: module)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (_case(_scale(65536), (1 << 17, 128)), "VMEM: "),
        (_case(lambda x: jnp.zeros((10, 1 << 30)) + x.sum()), "HBM: "),
        (_case(lambda x: x[: int(x[0, 0])]), "cannot be traced: "),
        (_case(lambda x: x, ("n", 128)), "args[0] must have a fixed shape, got ('n', 128)"),
        (_case(_scale(12)), "cannot be lowered for tpu: "),
    ],
    ids=["VMEM", "HBM", "not traceable", "dynamic shape", "block shape"],
)
def test_what_cannot_be_compiled_is_one_line(compiler, monkeypatch, case, message):
    _fake(monkeypatch, cases=lambda: (case,))
    answer = aot_jobs.perform(aot_jobs.KernelJob("toy", "only", ("v5e", 1)))
    assert message in answer.problem
    assert "\n" not in answer.problem


def test_block_sizes_are_swept_and_written(compiler, monkeypatch, tmp_path, capsys):
    bucket = {"platform": "tpu", "dtype": "float32", "width": 128}
    tried = [(bucket, _blocks.BlockSizes(rows, 1), _case(_scale(rows), (4096, 128), units=4096)) for rows in (8, 512)]
    _fake(monkeypatch, sweep=lambda: tried)
    (tmp_path / "tuned").mkdir()
    monkeypatch.setattr(aot_sweep.resources, "files", lambda package: tmp_path)
    monkeypatch.setattr(aot_sweep, "run", lambda jobs, processes: map(aot_jobs.perform, jobs))
    options = types.SimpleNamespace(fresh=False, jobs=1, write=False)
    assert aot_sweep.sweep("toy", [("v5e", 1), ("v6e", 1)], options) == 0
    assert "--write would put into" in capsys.readouterr().out
    assert not list((tmp_path / "tuned").iterdir())
    options.write = True
    assert aot_sweep.sweep("toy", [("v5e", 1), ("v6e", 1)], options) == 0
    assert "best for all: rows 512, programs 1, and on each chip" in capsys.readouterr().out
    (entry,) = json.loads((tmp_path / "tuned" / "toy.json").read_text())["buckets"]
    assert (entry["rows"], entry["device"]) == (512, "static estimate, not measured")
    assert entry["libtpu"] == compiler.split()[1]


def test_an_interrupted_command_ends_every_compiler(compiler, tmp_path):
    command = [sys.executable, "-m", "experiments.aot", SMALL[0], "--fresh", "--topology=v5e:16x16,v6e:16x16"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    started = subprocess.Popen(command, cwd=CHECKOUT, env=environment, text=True, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("lab-*/program.bin")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)  # the compiler's process has begun
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)
    finally:
        started.kill()
    assert started.returncode == 130
    assert err == "error: stopped by SIGINT; the same command resumes the run\n"
    assert not list(tmp_path.glob("lab-*")), "a compiler's folder is left"
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert not left


@pytest.mark.parametrize(("name", "slices"), [("v5e:16x16", 1), ("v5e:16x16", 4)])
def test_collectives_are_counted_with_their_bytes(compiler, name, slices):
    """Random numbers in a vmapped scan, a Pallas kernel, an all-to-all and a sum over all devices."""
    goal = target(name, slices)
    mesh = AbstractMesh((goal.devices // 4, 4), ("rep", "data"), axis_types=(AxisType.Auto,) * 2)
    spec = PartitionSpec(("rep", "data"))

    def local(x):
        def walk(key):
            step = lambda total, key: (total + jax.random.normal(key, (128,)), None)  # noqa: E731
            return jax.lax.scan(step, jnp.zeros(128), jax.random.split(key, 100))[0]

        x = _scale(8)(x) + jax.vmap(walk)(jax.random.split(jax.random.key(0), 64))
        return jax.lax.all_to_all(x, "data", 1, 0, tiled=True), jax.lax.psum(x.sum(), ("rep", "data"))

    run = jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=(spec, PartitionSpec()), check_vma=False)
    x = jax.ShapeDtypeStruct((goal.devices * 64, 128), F32, sharding=NamedSharding(mesh, spec))
    report = compile_for(run, (x,), goal, mesh)
    assert report.fits, report.why_not
    assert report.devices == 256 * slices
    assert len(report.kernels) == 1
    found = {c.kind: c for c in report.collectives}
    assert set(found) == {"all-to-all", "all-reduce"}
    assert found["all-to-all"].bytes == 64 * 128 * 4
    assert found["all-to-all"].group == 4
