"""Timing that can be compared: peers interleaved in one run, warmed up, at least 20 repeats, compile time apart.

A benchmark is a module `pallas_kernels/<operation>/bench.py` or `experiments/<family>/bench.py` with `cases(tables,
quick)`, which yields `Case`s; what takes minutes it may yield from `full_cases(tables)`. Each row that `measure`
returns is one implementation on one workload; the clock is the wall's, with the process's CPU time beside it, since on
a machine that others share only the latter is ours.
"""

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["MEMORY", "Amount", "Case", "Work", "limits", "matmul_rate", "measure", "memory_rate"]

REPEATS = 20
#: Key of the memory's bytes per second among the limits, beside the dtypes' flops.
MEMORY = "memory"

Amount = float | Callable[[Any], float] | None


@dataclasses.dataclass(frozen=True)
class Work:
    """One implementation's piece of a workload.

    call: runs it once, to completion; JAX results are waited for.
    items: how many units of `Case.unit` one call does; slow peers do a piece of the workload.
    flops: floating-point operations that the algorithm as implemented executes per call, by count, or None; a function
      of the call's result where that decides, as do the other two.
    useful: operations that the problem needs per call, whatever the implementation, or None.
    traffic: bytes that the algorithm moves per call if no array stays in a cache between two passes, or None.
    repeats: timed calls at most, for slow peers; with 1 the first call is timed, so only where nothing is compiled.
    report: numbers about a call's result that its row should have, such as the gap that it reached.
    """

    call: Callable[[], Any]
    items: int
    flops: Amount = None
    useful: Amount = None
    dtype: str = "float32"
    traffic: Amount = None
    repeats: int | None = None
    report: Callable[[Any], Mapping[str, float]] | None = None


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
    fastest = min(min(_timed(call)[1].cpu for _ in range(repeats)) for call in calls)
    return 2 * size**3 / fastest


def memory_rate(size: int = 1 << 27, repeats: int = 10) -> float:
    """Bytes per second of copying `size` bytes, read and written ones counted: far beyond a core's own caches."""
    source = np.ones(size // 8)
    target = np.empty_like(source)
    return 2 * size / min(_timed(lambda: np.copyto(target, source))[1].cpu for _ in range(repeats))


def limits() -> dict[str, float]:
    """What this machine does at best, measured now: flops per second by dtype, bytes per second of its memory."""
    with jax.enable_x64(True):
        rates = {name: matmul_rate(name) for name in ("float32", "float64")}
    return rates | {MEMORY: memory_rate()}


def measure(case: Case, peak: Mapping[str, float], repeats: int = REPEATS) -> list[dict[str, Any]]:
    """One row per implementation, all timed in turn so that a slow minute of the machine is shared by all.

    Args:
      peak: `limits()` of the same run.
      repeats: timed calls of each implementation, at least 1; the published rows use at least 20 but for slow peers.
    """
    first, clocks, results = {}, {name: [] for name in case.works}, {}
    for name, work in case.works.items():
        results[name], first[name] = _timed(work.call)
        if work.repeats == 1:
            clocks[name].append(first[name])
        elif work.repeats is None:
            work.call()
    gc.collect()
    for _ in range(repeats):
        for name, work in case.works.items():
            if len(clocks[name]) < min(work.repeats or repeats, repeats):
                results[name], seconds = _timed(work.call)
                clocks[name].append(seconds)
    return [
        _row(case, name, work, results[name], first[name].wall, clocks[name], peak) for name, work in case.works.items()
    ]


def _row(case, name, work, result, first, clocks, peak):
    wall, cpu = ([1e3 * c[i] for c in clocks] for i in (0, 1))
    quarter = statistics.quantiles(wall, n=4) if len(wall) > 1 else [wall[0]] * 3
    busy = statistics.median(cpu)
    limit, memory = peak.get(work.dtype), peak.get(MEMORY)

    def share(amount, limit):
        amount = amount(result) if callable(amount) else amount
        return None if amount is None or limit is None else amount / (busy / 1e3) / limit

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
        "of_limit": share(work.flops, limit),
        "of_limit_useful": share(work.useful, limit),
        "of_memory": share(work.traffic, memory),
        "limit_gflops": None if limit is None else limit / 1e9,
        "limit_gbytes": None if memory is None else memory / 1e9,
        "report": {} if work.report is None else dict(work.report(result)),
    }


class _Seconds(NamedTuple):
    wall: float
    cpu: float  # of this process


def _timed(call):
    wall, cpu = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(call())
    return result, _Seconds(time.perf_counter() - wall, time.process_time() - cpu)
