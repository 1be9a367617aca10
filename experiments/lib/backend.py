"""Which platform jax will use, and how it computes: decided before jax is imported, written down here alone."""

import glob
import hashlib
import os
import platform
from collections.abc import MutableMapping
from pathlib import Path

from experiments.lib.errors import UsageError

__all__ = ["cache_folder", "configure", "cpu_fingerprint", "gpu_plausible", "prepare_environment", "tpu_present"]

#: Keep libtpu from taking its lock, asking the metadata server and writing logs on a machine without a TPU.
NO_TPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_LOG_DIR": "disabled",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}

#: NumPy's linear algebra on one thread: the matrices are small, threads that wait for a busy core cost ten times the
#: work, and the number of threads must not change the last bits.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def tpu_present() -> bool:
    """Whether the kernel shows TPU device files."""
    return bool(glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*"))


def gpu_plausible() -> bool:
    """Whether there are device files of a GPU; a Mac always has one."""
    return any(os.path.exists(device) for device in ("/dev/nvidiactl", "/dev/kfd")) or platform.system() == "Darwin"


def prepare_environment(environ: MutableMapping[str, str] = os.environ, *, cpu_devices: int = 0) -> None:
    """Makes jax start quietly on what is there, and NumPy on one thread; a value that the user has set stays.

    With libtpu installed and no TPU, jax would try it, print five lines and fall back.

    Args:
      environ: changed in place, before jax and NumPy are imported.
      cpu_devices: > 0 rehearses that many devices on the CPU.

    Raises:
      UsageError: `cpu_devices` against JAX_PLATFORMS without cpu.
    """
    if cpu_devices:
        if "cpu" not in environ.get("JAX_PLATFORMS", "cpu").split(","):
            raise UsageError(f"--cpu_devices needs the CPU, and JAX_PLATFORMS is {environ['JAX_PLATFORMS']!r}.")
        environ["JAX_PLATFORMS"] = "cpu"
    for name, value in ONE_THREAD.items():
        environ.setdefault(name, value)
    if tpu_present():
        return
    for name, value in NO_TPU.items():
        environ.setdefault(name, value)
    if not gpu_plausible():
        environ.setdefault("JAX_PLATFORMS", "cpu")


def cpu_fingerprint() -> str:
    """Eight characters that differ between CPUs for which XLA would compile different code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text = "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    except OSError:
        text = platform.processor()
    return hashlib.sha256(f"{platform.machine()}\n{text}".encode()).hexdigest()[:8]


def cache_folder(environ: MutableMapping[str, str] = os.environ) -> Path:
    """Where compiled programs are kept: one folder per kind of CPU, since code for one can crash on another."""
    base = environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a relative path is to be ignored.
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return home / "equipoise" / f"xla-{cpu_fingerprint()}"


def configure(numerics, *, cpu_devices: int = 0, compile_cache: str = "") -> str | None:
    """Sets jax's global configuration; must come before any array.

    Args:
      numerics: the config's section: `x64`, `matmul_precision`.
      cpu_devices: > 0 for that many devices on the CPU.
      compile_cache: a folder, "" for `cache_folder()`, "off" for none.

    Returns:
      one line about a compile cache that cannot be used, or None.
    """
    import jax

    if cpu_devices:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    jax.config.update("jax_enable_x64", numerics.x64)
    jax.config.update("jax_default_matmul_precision", numerics.matmul_precision)
    jax.config.update("jax_default_prng_impl", "threefry2x32")
    jax.config.update("jax_threefry_partitionable", True)
    if compile_cache == "off":
        return None
    folder = Path(compile_cache).expanduser() if compile_cache else cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        return f"no compile cache: {folder}: {error.strerror}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return None
