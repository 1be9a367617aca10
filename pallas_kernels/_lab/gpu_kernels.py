"""Reads what XLA dumped for a GPU: the assembler's statistics of every kernel, and how each is launched."""

import pathlib
import re
import struct
import subprocess
import time
from typing import NamedTuple

from pallas_kernels._lab import gpu_targets
from pallas_kernels._lab.report import LabError

__all__ = ["GpuKernel", "Launch", "Statistics", "code_bytes", "launches", "read", "statistics"]

_INSTRUCTION = 16  # bytes of one machine instruction, from compute capability 7.0 on


class GpuKernel(NamedTuple):
    """One kernel of the compiled program: a fusion, a Pallas kernel, a matrix product. Memory in bytes."""

    name: str
    launches: int  # places in the program that launch it; a loop's body counts once. 0: nothing tells
    blocks: int | None  # of one launch
    threads: int | None  # of a block
    registers: int  # of a thread
    spill_stores: int  # of a thread: registers written to memory because there were too few
    spill_loads: int
    stack: int  # of a thread
    barriers: int
    shared_memory: int | None  # of a block; None where its launch, which adds the dynamic part, is not known
    instructions: int | None  # of the machine, padding at the end included; None for Mosaic, whose code is not kept
    resident: int | None  # blocks that a multiprocessor holds at a time
    occupancy: float | None  # share of a multiprocessor's warps that are then in use, at most
    limit: str | None  # what allows no more: "threads", "blocks", "registers", "shared memory"

    @property
    def spills(self) -> int:
        return self.spill_stores + self.spill_loads


class Statistics(NamedTuple):
    """What `ptxas -v` prints of one entry; bytes."""

    registers: int
    spill_stores: int = 0
    spill_loads: int = 0
    stack: int = 0
    barriers: int = 0
    shared: int = 0  # static only


class Launch(NamedTuple):
    places: int
    blocks: int
    threads: int
    shared: int  # dynamic only, bytes


def read(
    folder: pathlib.Path, ptxas: pathlib.Path, gpu: gpu_targets.Gpu, deadline: float
) -> tuple[list[GpuKernel], list[str]]:
    """Assembles every PTX file below `folder`; the kernels in the order of their first launch, and caveats.

    Mosaic assembles its kernels with an assembler of its own, newer than ptxas, and leaves what it printed beside them.

    Raises LabError if ptxas rejects a file or is not done by `deadline`, on the clock of `time.monotonic`.
    """
    order = launches("\n".join(path.read_text() for path in sorted(folder.rglob("*thunk_sequence.txt"))))
    found, caveats = set(), set()
    for path in sorted(folder.rglob("*.ptx")):
        ptx = path.read_text()
        if ".entry" not in ptx:  # constants only
            continue
        if (printed := path.with_suffix(".ptxas")).exists():
            text, sizes = printed.read_text(), {}
        else:
            architecture = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)[1]
            text, cubin = _assemble(ptxas, path, architecture, deadline)
            sizes = code_bytes(cubin)
        caveats.update(_losses(text))
        for name, of_kernel in statistics(text).items():
            found.add(_kernel(gpu, name, of_kernel, order.get(name), _entry(ptx, name), sizes.get(name), caveats))
    rank = {name: place for place, name in enumerate(order)}
    return sorted(found, key=lambda kernel: (rank.get(kernel.name, len(rank)), kernel.name)), sorted(caveats)


def statistics(text: str) -> dict[str, Statistics]:
    """Entry -> what `ptxas -v` printed of it. Device functions, which no launch names, are left out."""
    registers, frames, entry, function = {}, {}, None, None
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)'", line):
            entry = match[1]
        elif match := re.search(r"Function properties for (\S+)", line):
            function = match[1]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, stores, loads = map(int, match.groups())
            frames[function] = {"stack": stack, "spill_stores": stores, "spill_loads": loads}
        elif match := re.search(r"Used (\d+) registers", line):
            registers[entry] = {
                "registers": int(match[1]),
                "barriers": _number(r"used (\d+) barriers", line),
                "shared": _number(r"(\d+) bytes smem", line),
            }
    return {name: Statistics(**found, **frames.get(name, {})) for name, found in registers.items()}


def launches(text: str) -> dict[str, Launch]:
    """Kernel -> how XLA's thunk sequence launches it, in order of appearance."""
    found = {}
    pattern = r"(\S+) grid: \[([\d, ]+)\] threads: \[([\d, ]+)\]\s+shared_memory: (\d+) bytes"
    for name, grid, block, shared in re.findall(pattern, text):
        before = found.get(name, Launch(0, 0, 0, 0))
        here = _product(grid), _product(block), int(shared)
        found[name] = Launch(before.places + 1, *map(max, before[1:], here))
    return found


def code_bytes(cubin: bytes) -> dict[str, int]:
    """Kernel -> bytes of machine code: sizes of the sections `.text.NAME` of a 64-bit little-endian ELF file."""
    (start,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQ", cubin, start + size * index) for index in range(count)]
    sizes = {}
    for header in headers:
        begin = headers[names][4] + header[0]
        name = cubin[begin : cubin.index(b"\0", begin)].decode()
        if name.startswith(".text."):
            sizes[name.removeprefix(".text.")] = header[5]
    return sizes


def _kernel(gpu, name, found, launch, entry, code, caveats):
    threads = launch.threads if launch else entry.threads
    shared = None
    if launch or not entry.dynamic_shared:
        shared = found.shared + (launch.shared if launch else 0)
    else:
        caveats.add(f"{name}: the dump does not say how much shared memory its launch asks for.")
    if entry.cluster:
        caveats.add(f"{name}: its occupancy is that of single blocks, but it is launched in clusters.")
    room = None
    if threads is not None and shared is not None:
        room = gpu_targets.residency(gpu, threads=threads, registers=found.registers, shared=shared)
    return GpuKernel(
        name=name,
        launches=launch.places if launch else 0,
        blocks=launch.blocks if launch else None,
        threads=threads,
        registers=found.registers,
        spill_stores=found.spill_stores,
        spill_loads=found.spill_loads,
        stack=found.stack,
        barriers=found.barriers,
        shared_memory=shared,
        instructions=code and code // _INSTRUCTION,
        resident=room and room.blocks,
        occupancy=room and room.occupancy,
        limit=room and room.limit,
    )


class _Entry(NamedTuple):
    threads: int | None
    dynamic_shared: bool
    cluster: bool


def _entry(ptx, name):
    """What the PTX itself says of an entry's launch: its directives stand between the parameters and the body."""
    directives = re.search(rf"\.entry {re.escape(name)}\b(.*?)\{{", ptx, re.DOTALL)[1]
    size = re.search(r"\.(?:req|max)ntid ([\d, ]+)", directives)
    dynamic = re.search(r"\.shared [^;]*(\[\]|__dynamic_shmem__\w*);", ptx)
    cluster = re.search(r"\.(?:reqnctapercluster|explicitcluster|maxclusterrank)", directives)
    return _Entry(_product(size[1]) if size else None, dynamic is not None, cluster is not None)


def _assemble(ptxas, path, architecture, deadline):
    cubin = path.with_suffix(".cubin")
    command = [ptxas, "-v", f"-arch={architecture}", path, "-o", cubin]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(deadline - time.monotonic(), 1))
    except subprocess.TimeoutExpired as error:
        raise LabError(f"ptxas was still assembling {path.name} when the time was up.") from error
    text = done.stdout + done.stderr
    if done.returncode:
        lines = [line for line in text.splitlines() if "error" in line or "fatal" in line] or [f"rc {done.returncode}"]
        raise LabError(f"ptxas rejects {path.name}: {lines[0].strip()}")
    return text, cubin.read_bytes()


def _losses(text):
    return [line.split(":", 1)[1].strip() for line in text.splitlines() if "Potential Performance Loss" in line]


def _number(pattern, line):
    match = re.search(pattern, line)
    return int(match[1]) if match else 0


def _product(sizes):
    total = 1
    for size in sizes.split(","):
        total *= int(size)
    return total
