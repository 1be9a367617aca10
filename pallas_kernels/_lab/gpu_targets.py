"""NVIDIA GPUs that programs are compiled for: what their compiler asks, and how many blocks a multiprocessor holds."""

from typing import NamedTuple

from pallas_kernels._lab.report import LabError

__all__ = ["TARGETS", "Gpu", "Residency", "find", "residency"]

WARP = 32
_MAX_WARPS = 64  # on one multiprocessor; the same on compute capability 8.0 and 9.0, as are the next five
_MAX_BLOCKS = 32
_PARTITIONS = 4  # of a multiprocessor, each with its own registers
_REGISTERS = 65536  # 32-bit, of a multiprocessor
_REGISTER_UNIT = 256  # registers are given to a warp in multiples of this
_SHARED_UNIT = 128  # bytes
_SHARED_RESERVED = 1024  # bytes that the system takes of each block's shared memory


class Gpu(NamedTuple):
    """One device. Sizes in bytes, rates per second; published by NVIDIA, `kind` as its driver names it."""

    kind: str
    capability: tuple[int, int]
    processors: int
    lanes: int  # float32 units of a multiprocessor
    memory: int
    bandwidth: int
    cache: int  # L2
    clock: float  # GHz
    shared: int  # shared memory of a multiprocessor
    shared_block: int  # the most that one block can ask for

    @property
    def proto(self) -> str:
        """A `GpuTargetConfigProto` in text form: the description from which XLA compiles without the device."""
        major, minor = self.capability
        return f"""
gpu_device_info {{
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  core_count: {self.processors} fpus_per_core: {self.lanes} clock_rate_ghz: {self.clock}
  device_memory_size: {self.memory} memory_bandwidth: {self.bandwidth} l2_cache_size: {self.cache}
  shared_memory_per_core: {self.shared} shared_memory_per_block_optin: {self.shared_block}
  shared_memory_per_block: {48 << 10}
  registers_per_core_limit: {_REGISTERS} registers_per_block_limit: {_REGISTERS}
  threads_per_warp: {WARP} threads_per_core_limit: {_MAX_WARPS * WARP} threads_per_block_limit: 1024
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}
device_description_str: "{self.kind}"
"""


_H100 = Gpu(
    kind="NVIDIA H100 80GB HBM3", capability=(9, 0), processors=132, lanes=128, memory=84_942_979_072,
    bandwidth=3_352_320_000_000, cache=50 << 20, clock=1.98, shared=228 << 10, shared_block=227 << 10,
)  # fmt: skip
TARGETS = {
    "h100": _H100,
    "h200": _H100._replace(kind="NVIDIA H200", memory=150_110_011_392, bandwidth=4_800_000_000_000),
    "a100": Gpu(
        kind="NVIDIA A100-SXM4-80GB", capability=(8, 0), processors=108, lanes=64, memory=85_100_068_864,
        bandwidth=2_039_040_000_000, cache=40 << 20, clock=1.41, shared=164 << 10, shared_block=163 << 10,
    ),
}  # fmt: skip


def find(target: str) -> Gpu:
    """The device called `target`. Raises LabError with the list of those that there are."""
    if target not in TARGETS:
        raise LabError(f"target must be one of {', '.join(sorted(TARGETS))}, got {target!r}.")
    return TARGETS[target]


class Residency(NamedTuple):
    """How much of a multiprocessor one kernel can occupy at a time."""

    blocks: int  # 0 if not even one fits
    occupancy: float  # resident warps as a share of the most that there can be, in [0, 1]
    limit: str  # what allows no more blocks: "threads", "blocks", "registers" or "shared memory"


def residency(gpu: Gpu, *, threads: int, registers: int, shared: int) -> Residency:
    """Blocks of one kernel that a multiprocessor holds at the same time.

    Args:
      threads: of a block, at least 1.
      registers: of a thread.
      shared: bytes of a block, static and dynamic together.

    Source: CUDA C++ Best Practices Guide, "Calculating Occupancy"; sizes from the CUDA C++ Programming Guide, "Compute
    Capabilities". An upper limit: thread-block clusters and the launch itself can lower it.
    """
    warps = -(-threads // WARP)
    per_warp = max(_up(registers * WARP, _REGISTER_UNIT), _REGISTER_UNIT)
    most = {
        "threads": _MAX_WARPS // warps,
        "blocks": _MAX_BLOCKS,
        "registers": _REGISTERS // _PARTITIONS // per_warp * _PARTITIONS // warps,
        "shared memory": gpu.shared // _up(shared + _SHARED_RESERVED, _SHARED_UNIT) * (shared <= gpu.shared_block),
    }
    limit = min(most, key=most.get)
    return Residency(most[limit], most[limit] * warps / _MAX_WARPS, limit)


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
