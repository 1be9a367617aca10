"""Timing that can be compared: peers interleaved in one run, warmed up, at least 20 repeats, compile time apart.

A benchmark is a module `pallas_kernels/<operation>/bench.py` with `cases(tables, quick)`, which yields `Case`s. Each
row that `measure` returns is one implementation on one workload; the clock is the wall's, with the process's CPU time
beside it, since on a machine that others share only the latter is ours.
"""

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Case", "Work", "matmul_rate", "measure"]

REPEATS = 20


@dataclasses.dataclass(frozen=True)
class Work:
    """One implementation's piece of a workload.

    call: runs it once, to completion; JAX results are waited for.
    items: how many units of `Case.unit` one call does; slow peers do a piece of the workload.
    flops: floating-point operations that the algorithm as implemented executes per call, by count, or None.
    useful: operations that the problem needs per call, whatever the implementation, or None.
    """

    call: Callable[[], Any]
    items: int
    flops: float | None = None
    useful: float | None = None
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload and its implementations; ratios are to each other in `unit` per second."""

    name: str
    unit: str
    shape: tuple[int, ...]
    works: Mapping[str, Work]
    note: str = ""


def matmul_rate(dtype, size: int = 1024, repeats: int = 10) -> float:
    """Flops per second of the fastest large matrix product here, JAX's or NumPy's: the limit that shares refer to."""
    left = np.random.default_rng(0).normal(size=(size, size)).astype(dtype)
    device = jnp.asarray(left)
    product = jax.jit(lambda a: jnp.dot(a, a, precision=jax.lax.Precision.HIGHEST))
    calls = [lambda: jax.block_until_ready(product(device)), lambda: left @ left]
    fastest = min(min(_clocks(call)[1] for _ in range(repeats)) for call in calls)
    return 2 * size**3 / fastest


def measure(case: Case, peak: Mapping[str, float], repeats: int = REPEATS) -> list[dict[str, Any]]:
    """One row per implementation, all timed in turn so that a slow minute of the machine is shared by all.

    Args:
      peak: flops per second of a large matrix product, by dtype name, measured in the same run.
      repeats: timed calls of each implementation, at least 1; the published rows use at least 20.
    """
    first = {name: _clocks(work.call)[0] for name, work in case.works.items()}
    for work in case.works.values():
        work.call()
    clocks = {name: [] for name in case.works}
    gc.collect()
    for _ in range(repeats):
        for name, work in case.works.items():
            clocks[name].append(_clocks(work.call))
    return [_row(case, name, work, first[name], clocks[name], peak) for name, work in case.works.items()]


def _row(case, name, work, first, clocks, peak):
    wall, cpu = ([1e3 * c[i] for c in clocks] for i in (0, 1))
    quarter = statistics.quantiles(wall, n=4) if len(wall) > 1 else [wall[0]] * 3
    busy = statistics.median(cpu)
    limit = peak.get(work.dtype)
    share = lambda flops: None if flops is None or limit is None else flops / (busy / 1e3) / limit  # noqa: E731
    return {
        "name": case.name,
        "impl": name,
        "shape": list(case.shape),
        "dtype": work.dtype,
        "note": case.note,
        "repeats": len(clocks),
        "items": work.items,
        "unit": case.unit,
        "median_ms": statistics.median(wall),
        "iqr_ms": quarter[2] - quarter[0],
        "cpu_ms": busy,
        "compile_ms": max(0.0, 1e3 * first - statistics.median(wall)),
        "per_second": work.items / (busy / 1e3),
        "of_limit": share(work.flops),
        "of_limit_useful": share(work.useful),
        "limit_gflops": None if limit is None else limit / 1e9,
    }


def _clocks(call):
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.perf_counter() - wall, time.process_time() - cpu
