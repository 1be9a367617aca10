"""Compiles a program for an NVIDIA GPU on a machine without one, and says what its kernels use of it.

The compiler lives in a folder of its own, beside the environment: `make gpu-lab` installs it. Only the child process
sees it, so the environment itself never loads a GPU plug-in. What comes back is what the compiler knows: whether the
program compiles, memory, and per kernel registers, spills, shared memory, instructions and occupancy; no times.
"""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from pallas_kernels._lab import gpu_kernels, gpu_targets
from pallas_kernels._lab.gpu_kernels import GpuKernel
from pallas_kernels._lab.report import LabError

__all__ = ["GpuKernel", "GpuMemory", "GpuReport", "available", "compile", "compiler", "from_plain", "to_plain"]

_PLUGIN = ("jax-cuda12-plugin", "jax-cuda12-pjrt")
_ASSEMBLER = "nvidia-cuda-nvcc-cu12"
_CHILD = pathlib.Path(__file__).with_name("gpu_child.py")
_INSTALL = "`make gpu-lab` installs it"


class GpuMemory(NamedTuple):
    """Memory of one device, in bytes."""

    arguments: int
    outputs: int
    aliased: int  # outputs that reuse an argument's memory
    temporaries: int
    available: int

    @property
    def total(self) -> int:
        return self.arguments + self.outputs - self.aliased + self.temporaries


class GpuReport(NamedTuple):
    """One program on one kind of GPU; every number is per device."""

    program: str
    target: str
    devices: int
    compiler: str
    why_not: str | None  # None if it compiles and fits, else the reason in one line
    memory: GpuMemory | None  # None where the compiler stops before it knows
    kernels: tuple[GpuKernel, ...]  # in the order of their first launch
    libraries: tuple[str, ...]  # routines of cuBLAS, cuSOLVER and others, whose kernels are not in this report
    caveats: tuple[str, ...]
    compile_seconds: float
    host_bytes: int  # peak memory of the compiling process

    @property
    def fits(self) -> bool:
        return self.why_not is None


def available(folder: str | os.PathLike | None = None) -> str | None:
    """None if programs can be compiled for GPUs here, else why not, in one line.

    Args:
      folder: where the compiler is installed; None for the one that `make gpu-lab` fills, beside the environment.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "The GPU laboratory needs Linux on x86-64: its compiler exists for nothing else."
    folder = _folder(folder)
    found = _versions(folder)
    missing = [name for name in (*_PLUGIN, _ASSEMBLER) if name not in found]
    if missing:
        return f"No GPU compiler: {', '.join(missing)} not in {folder} ({_INSTALL})."
    jax_version = importlib.metadata.version("jax")
    for name in _PLUGIN:
        if found[name] != jax_version:
            return f"No GPU compiler: {folder} has {name} {found[name]}, but jax is {jax_version} ({_INSTALL} anew)."
    if not os.access(_ptxas(folder), os.X_OK):
        return f"No GPU compiler: {_ptxas(folder)} is not an executable ({_INSTALL} anew)."
    if importlib.util.find_spec("flatbuffers") is None:
        return "No GPU compiler: jax.export needs the package flatbuffers (pip install flatbuffers)."
    return None


def compiler(folder: str | os.PathLike | None = None) -> str:
    """Name and versions of the compiler, for instance to key a cache. Raises LabError if there is none."""
    _require(folder)
    found = _versions(_folder(folder))
    return f"{_PLUGIN[1]} {found[_PLUGIN[1]]}, ptxas {found[_ASSEMBLER]}"


def compile(
    exported: bytes,
    *,
    name: str,
    target: str = "h100",
    axes: Sequence[tuple[str, int]] = (),
    donated: Sequence[int] = (),
    folder: str | os.PathLike | None = None,
    timeout: float = 300.0,
) -> GpuReport:
    """Compiles an exported program in a child process, and assembles its kernels for their statistics.

    Args:
      exported: a serialized `jax.export` for the platform "cuda" of a function of arrays.
      name: of the program, for the report and for messages.
      target: one of `gpu_targets.TARGETS`.
      axes: (name, size) of the mesh it is sharded over; () for one device.
      donated: positions of the arguments whose memory it may reuse.
      folder: where the compiler is installed, as in `available`.
      timeout: seconds that it may take in all.

    Raises:
      LabError: no compiler here, unknown target, `exported` cannot be used, or the time was up. A program that does not
        compile, or does not fit, is a report with `why_not`.
    """
    gpu = gpu_targets.find(target)
    _require(folder)
    folder = _folder(folder)
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory(prefix="gpu-lab-") as work:
        work = pathlib.Path(work)
        (work / "program").write_bytes(exported)
        (work / "target").write_text(gpu.proto)
        (work / "request.json").write_text(json.dumps({"axes": list(axes), "donated": list(donated)}))
        outcome = _compile_in_child(work, folder, name, target, timeout)
        kernels, caveats = [], []
        if "refused" in outcome:
            raise LabError(f"{name}: {outcome['refused']}.")
        if "why_not" not in outcome:
            kernels, caveats = gpu_kernels.read(work / "dump", _ptxas(folder), gpu, deadline)
    memory = outcome.get("memory")
    memory = memory and GpuMemory(**memory, available=gpu.memory)
    return GpuReport(
        program=name,
        target=target,
        devices=outcome.get("devices", 1),
        compiler=compiler(folder),
        why_not=outcome.get("why_not") or _does_not_fit(gpu, memory, kernels),
        memory=memory,
        kernels=tuple(kernels),
        libraries=tuple(outcome.get("libraries", ())),
        caveats=(*_caveats(outcome), *caveats),
        compile_seconds=outcome.get("compile_seconds", 0.0),
        host_bytes=outcome.get("host_bytes", 0),
    )


def to_plain(report: GpuReport) -> dict[str, Any]:
    """The report as dicts, lists, strings and numbers, for JSON."""
    return report._asdict() | {
        "memory": report.memory and report.memory._asdict(),
        "kernels": [kernel._asdict() for kernel in report.kernels],
        "libraries": list(report.libraries),
        "caveats": list(report.caveats),
    }


def from_plain(plain: dict[str, Any]) -> GpuReport:
    """The inverse of `to_plain`. Raises KeyError or TypeError if it is of another version of these classes."""
    fields = dict(plain)
    fields["memory"] = fields["memory"] and GpuMemory(**fields["memory"])
    fields["kernels"] = tuple(GpuKernel(**kernel) for kernel in fields["kernels"])
    fields |= {name: tuple(fields[name]) for name in ("libraries", "caveats")}
    return GpuReport(**fields)


def _compile_in_child(work, folder, name, target, timeout):
    command = [sys.executable, "-P", _CHILD, work]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    # A session of its own: the compiler starts processes, and all of them must end with it.
    with subprocess.Popen(command, env=_environment(work, folder), start_new_session=True, **pipes) as child:
        try:
            _, noise = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{name}: compiling for {target} took longer than timeout={timeout:g} seconds.") from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if (work / "outcome.json").exists():
        return json.loads((work / "outcome.json").read_text())
    last = next((line.strip() for line in reversed(noise.splitlines()) if line.strip()), "it printed nothing")
    if child.returncode < 0:
        return {"why_not": f"the compiler died by {signal.Signals(-child.returncode).name} ({last[:200]})"}
    raise LabError(f"{name}: the compiler stopped ({last[:200]}).")


def _environment(work, folder):
    """The caller's variables without those that steer jax or XLA: a report depends on its inputs only."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_", "MOSAIC_"))}
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))),
        # The regular expression asks for PTX alone: with ".*" the passes of every kernel take ten times the compile.
        "XLA_FLAGS": f"--xla_dump_to={work}/dump --xla_dump_emitter_re=ptx",
        "MOSAIC_GPU_DUMP_TO": f"{work}/dump",
        "MOSAIC_GPU_RUNTIME_LIB_PATH": str(folder / "jax_cuda12_plugin" / "libmosaic_gpu_runtime.so"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _does_not_fit(gpu, memory, kernels):
    if memory is not None and memory.total > memory.available:
        needs, has = memory.total / 2**30, memory.available / 2**30
        return f"it needs {needs:.1f} GiB of memory on each device, {gpu.kind} has {has:.1f} GiB"
    for kernel in kernels:
        if kernel.resident == 0:
            return f"kernel {kernel.name} cannot be launched: one block exceeds the {kernel.limit} of {gpu.kind}"
    return None


def _caveats(outcome):
    if outcome.get("libraries"):
        yield "Library routines run kernels that this report does not contain."
    if outcome.get("gemms"):
        yield "Matrix products have default tiles: XLA chooses them by timing, for which there is no GPU."
    if outcome.get("devices", 1) > 1:
        yield "Communication between devices is not in this report."


def _require(folder):
    why_not = available(folder)
    if why_not is not None:
        raise LabError(why_not)


def _folder(folder):
    return pathlib.Path(sys.prefix + "-gpu-lab" if folder is None else folder).resolve()


def _versions(folder):
    """Distribution -> version, of what is installed in a folder."""
    found = importlib.metadata.distributions(path=[str(folder)])
    return {one.metadata["Name"].lower().replace("_", "-"): one.version for one in found}


def _ptxas(folder):
    return folder / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"
