"""What this machine offers to the experiments: python -m experiments.doctor

Versions, devices, precision, kernels (which implementation will be chosen, and why the others are not), extras that are
not installed, data sets that are here. The exit code is 1 if something is there that will stop an experiment.
"""

import argparse
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from experiments.lib import backend, provenance

__all__ = ["main", "report"]

_PYTHON, _JAX = (3, 11), (0, 10, 2)
_EXTRAS = ("figures", "data", "test", "dev", "bench")


def versions() -> Iterator[str]:
    """Versions that can change a number, and the code's revision."""
    found = provenance.versions()
    yield ", ".join(f"{name} {version}" for name, version in found.items())
    yield f"revision {provenance.revision().name}"
    if sys.version_info[:2] < _PYTHON:
        yield f"PROBLEM: Python must be >= {'.'.join(map(str, _PYTHON))}"
    if tuple(map(int, re.findall(r"\d+", found.get("jax", "0"))[:3])) < _JAX:
        yield f"PROBLEM: jax must be >= {'.'.join(map(str, _JAX))}"


def devices() -> Iterator[str]:
    """What jax computes on, and what it does not although it is there."""
    import jax

    found = provenance.devices()
    yield f"{found['count']} {found['platform']} device(s), {found['kind']}; {found['cores']} cores, {found['machine']}"
    yield f"--mesh=rep:{jax.local_device_count()} uses all; --mesh=rep:8 --cpu_devices=8 rehearses eight"
    for name, present in (("tpu", backend.tpu_present()), ("gpu", backend.gpu_plausible())):
        if present and found["platform"] == "cpu":
            yield f"a {name} is here and jax does not see it: pip install -e '.[{name}]'"


def precision() -> Iterator[str]:
    """Largest relative error of a float32 matrix product, as experiments compute it and as jax would by default."""
    import jax
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = (rng.uniform(size=(256, 256)).astype(np.float32) for _ in range(2))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    for name in ("highest", "default"):
        with jax.default_matmul_precision(name):
            error = np.max(np.abs(np.asarray(jax.jit(lambda x, y: x @ y)(a, b)) / exact - 1))
        yield f"float32 matmul, {name}: relative error {error:.1e}"
    with jax.enable_x64(True):
        yield f"numerics.x64 gives {jax.numpy.zeros(1, jax.numpy.float64).dtype}"
    yield f"random numbers: {jax.config.jax_default_prng_impl}"


def kernels() -> Iterator[str]:
    """Every kernel package, and what its `explain(platform)` says: implementation -> None if chosen, or why not."""
    import jax

    from pallas_kernels import _discover

    platform = jax.devices()[0].platform
    for kernel in _discover.kernels():
        for implementation, why_not in _discover.load(kernel, "api").explain(platform).items():
            yield f"{kernel}[{implementation}]: {'chosen' if why_not is None else why_not}"


def extras() -> Iterator[str]:
    """Extras of the package, and what each lacks."""
    try:
        requirements = importlib.metadata.requires("equipoise") or []
    except importlib.metadata.PackageNotFoundError:
        yield "equipoise is not installed; pip install -e . makes extras known"
        return
    for extra in _EXTRAS:
        wanted = [r for r in requirements if re.search(rf"extra == [\"']{extra}[\"']", r)]
        missing = [name for name in (re.match(r"[\w.-]+", r).group() for r in wanted) if not _installed(name)]
        yield f"{extra}: " + (f"lacks {', '.join(missing)}; pip install -e '.[{extra}]'" if missing else "complete")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def data() -> Iterator[str]:
    """Data sets: here, or how to get them."""
    from experiments.data import fetch

    for name in fetch.NAMES:
        folder = fetch.locate(fetch.source(name))
        get = f"not here ({fetch.megabytes(fetch.size(name))}); python -m experiments.data --fetch {name}"
        yield f"{name}: in {folder}" if folder else f"{name}: {get}"


def compile_cache() -> Iterator[str]:
    """Where compiled programs are kept, and how much they take."""
    folder = backend.cache_folder()
    size = sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
    yield f"{folder}, {size / 1e6:.0f} MB; may be deleted at any time"


_SECTIONS: tuple[Callable[[], Iterator[str]], ...] = (
    versions, devices, precision, kernels, extras, data, compile_cache,
)  # fmt: skip


def report() -> Iterator[str]:
    """All lines. A section that fails says so and does not silence the others."""
    for section in _SECTIONS:
        yield section.__name__.replace("_", " ")
        try:
            for line in section():
                yield f"  {line}"
        except Exception as error:  # this is the tool one runs when things are broken
            yield f"  PROBLEM: {type(error).__name__}: {' '.join(str(error).split())}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.doctor", description=__doc__.splitlines()[0])
    parser.parse_args(arguments)
    backend.prepare_environment()
    problems = 0
    for line in report():
        print(line, flush=True)
        problems += "PROBLEM" in line
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
