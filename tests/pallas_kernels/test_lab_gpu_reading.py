"""The GPU laboratory without its compiler: what it reads, what it computes, and what it says when it cannot run."""

import importlib.metadata
import json
import struct

import pytest

from pallas_kernels._lab import gpu, gpu_kernels, gpu_targets
from pallas_kernels._lab.report import LabError

PRINTED = """ptxas info    : (C7510) Potential Performance Loss: wgmma is serialized in 'softmax_k'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'softmax_k' for 'sm_90a'
ptxas info    : Function properties for softmax_k
    5560 bytes stack frame, 17096 bytes spill stores, 21988 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 5560 bytes cumulative stack size
ptxas info    : Compile time = 3558.816 ms
ptxas info    : Function properties for helper
    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Compiling entry function 'input_reduce_fusion' for 'sm_90a'
ptxas info    : Function properties for input_reduce_fusion
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 31 registers, used 2 barriers, 8320 bytes smem, 400 bytes cmem[0]
ptxas info    : Compile time = 4.570 ms
"""
SEQUENCE = """001: kCopy         [source       | next=002 (1)] kCopy
002: kWhile        [prev=001 (1) | next=005 (1)]
  body:
    003: kCustomKernel [source       | next=004 (1)] gemm_fusion_dot_2 grid: [48, 2, 1] threads: [64, 1, 1]  shared_memory: 1536 bytes
    004: kTriangularSolve [prev=003 (1) | sink        ] (no description)
005: kCustomKernel [prev=002 (1) | next=006 (1)] wrapped_transpose grid: [12, 1, 1] threads: [32, 4, 1]  shared_memory: 0 bytes
006: kCustomKernel [prev=005 (1) | sink        ] wrapped_transpose grid: [12, 1, 1] threads: [32, 4, 1]  shared_memory: 0 bytes
"""  # noqa: E501


def test_the_assembler_s_statistics_are_read():
    found = gpu_kernels.statistics(PRINTED)
    assert found == {
        "softmax_k": gpu_kernels.Statistics(32, spill_stores=17096, spill_loads=21988, stack=5560, barriers=1),
        "input_reduce_fusion": gpu_kernels.Statistics(31, barriers=2, shared=8320),
    }
    assert gpu_kernels.statistics("ptxas info    : 0 bytes gmem\n") == {}


def test_launches_are_read_and_counted():
    assert gpu_kernels.launches(SEQUENCE) == {
        "gemm_fusion_dot_2": gpu_kernels.Launch(places=1, blocks=96, threads=64, shared=1536),
        "wrapped_transpose": gpu_kernels.Launch(places=2, blocks=12, threads=128, shared=0),
    }


def test_code_sizes_are_read_from_the_object_file():
    names = b"\0.shstrtab\0.text.softmax_k\0.data\0"
    sections = [(0, 0, 0), (1, 64, len(names)), (11, 0, 12288), (27, 0, 99)]  # name, offset, size
    header = bytearray(64)
    struct.pack_into("<Q", header, 40, 64 + len(names))
    struct.pack_into("<HHH", header, 58, 64, len(sections), 1)
    table = b"".join(struct.pack("<IIQQQQ", n, 1, 0, 0, at, size) + bytes(24) for n, at, size in sections)
    assert gpu_kernels.code_bytes(bytes(header) + names + table) == {"softmax_k": 12288}


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "blocks", "occupancy", "limit"),
    [
        # The two examples of the CUDA C++ Best Practices Guide ("Calculating Occupancy"), on a chip of equal registers.
        (128, 37, 0, 12, 0.75, "registers"),
        (320, 37, 0, 4, 0.625, "registers"),
        (1024, 32, 0, 2, 1.0, "threads"),
        (32, 16, 0, 32, 0.5, "blocks"),
        (128, 255, 0, 2, 0.125, "registers"),
        # 228 KiB, of which the system takes 1 KiB for each block.
        (128, 32, 113 << 10, 2, 0.125, "shared memory"),
        (128, 32, 227 << 10, 1, 0.0625, "shared memory"),
        (128, 32, (227 << 10) + 1, 0, 0.0, "shared memory"),
    ],
)
def test_occupancy_follows_the_documented_rule(threads, registers, shared, blocks, occupancy, limit):
    h100 = gpu_targets.find("h100")
    found = gpu_targets.residency(h100, threads=threads, registers=registers, shared=shared)
    assert found == (blocks, occupancy, limit)


def test_an_unknown_target_is_answered_with_the_list():
    with pytest.raises(LabError, match=r"^target must be one of a100, h100, h200, got 'v5e:2x2'\.$"):
        gpu.compile(b"", name="f", target="v5e:2x2")


def test_a_report_survives_json():
    kernel = gpu_kernels.GpuKernel("k", 1, 8, 128, 255, 4, 8, 16, 1, 128, None, 2, 0.125, "registers")
    memory = gpu.GpuMemory(8, 4, 2, 1, available=1 << 30)
    report = gpu.GpuReport("f", "h100", 1, "c", None, memory, (kernel,), ("cusolver",), ("caveat",), 0.5, 1 << 20)
    assert gpu.from_plain(json.loads(json.dumps(gpu.to_plain(report)))) == report
    assert report.fits
    assert kernel.spills == 12
    assert memory.total == 11
    refused = report._replace(why_not="too large", memory=None, kernels=())
    assert gpu.from_plain(json.loads(json.dumps(gpu.to_plain(refused)))) == refused


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Looks like an installed compiler of this jax."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    pytest.importorskip("flatbuffers")
    version = importlib.metadata.version("jax")
    packages = {"jax_cuda12_plugin": version, "jax_cuda12_pjrt": version, "nvidia_cuda_nvcc_cu12": "12.9.86"}
    for name, version in packages.items():
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    ptxas = tmp_path / "nvidia/cuda_nvcc/bin/ptxas"
    ptxas.parent.mkdir(parents=True)
    ptxas.touch(mode=0o755)
    return tmp_path


def test_a_complete_folder_is_available(folder):
    assert gpu.available(folder) is None
    assert gpu.compiler(folder) == f"jax-cuda12-pjrt {importlib.metadata.version('jax')}, ptxas 12.9.86"


def test_a_missing_compiler_is_one_line_with_the_command(folder):
    why_not = gpu.available(folder / "nowhere")
    assert why_not.startswith("No GPU compiler: jax-cuda12-plugin, jax-cuda12-pjrt, nvidia-cuda-nvcc-cu12 not in ")
    assert why_not.endswith("(`make gpu-lab` installs it).")
    assert "\n" not in why_not
    with pytest.raises(LabError, match="make gpu-lab"):
        gpu.compile(b"", name="f", folder=folder / "nowhere")


def test_another_version_a_missing_assembler_and_another_system_are_told(folder, monkeypatch):
    info = next(folder.glob("jax_cuda12_pjrt-*"))
    text = (info / "METADATA").read_text()
    (info / "METADATA").write_text(text.replace(importlib.metadata.version("jax"), "0.4.1"))
    assert "has jax-cuda12-pjrt 0.4.1, but jax is " in gpu.available(folder)
    (info / "METADATA").write_text(text)
    (folder / "nvidia/cuda_nvcc/bin/ptxas").unlink()
    assert "ptxas is not an executable" in gpu.available(folder)
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert "needs Linux on x86-64" in gpu.available(folder)


def _child(tmp_path, monkeypatch, code):
    (tmp_path / "child.py").write_text(code)
    monkeypatch.setattr(gpu, "_CHILD", tmp_path / "child.py")


def test_a_compiler_that_dies_is_a_reason_not_a_traceback(folder, tmp_path, monkeypatch):
    _child(
        tmp_path, monkeypatch, "import os, sys; sys.stderr.write('F0 check failed\\n'); sys.stderr.flush(); os.abort()"
    )
    report = gpu.compile(b"", name="f", folder=folder)
    assert report.why_not == "the compiler died by SIGABRT (F0 check failed)"
    assert (report.fits, report.kernels, report.memory) == (False, (), None)


def test_a_compiler_that_stops_or_does_not_end_is_told(folder, tmp_path, monkeypatch):
    _child(tmp_path, monkeypatch, "import a_module_that_is_not_there")
    with pytest.raises(LabError, match=r"^f: the compiler stopped \(ModuleNotFoundError: "):
        gpu.compile(b"", name="f", folder=folder)
    _child(tmp_path, monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(LabError, match=r"^f: compiling for h100 took longer than timeout=0\.3 seconds\.$"):
        gpu.compile(b"", name="f", folder=folder, timeout=0.3)
