"""Speed of kernels and algorithms against their peers, as ratios of one run on one core.

  python -m experiments.bench                       # all cases, about ten minutes; rows are appended to bench.jsonl
  python -m experiments.bench --only=adult --quick  # a twentieth of the rounds
  python -m experiments.bench --only=lp --full      # with the cases whose peers need many minutes

Everything runs on one core: the process is pinned, and BLAS, OpenMP and XLA get one thread, before any of them starts.
Every pallas_kernels/<operation>/bench.py and experiments/<family>/bench.py is found by its place. Peers that are not
installed are left out with one line.
"""

import argparse
import ctypes
import datetime
import importlib
import importlib.util
import json
import os
import pathlib
import sys

_ONE_THREAD = {
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
# Where set, they make OpenBLAS use a slower kernel than this machine's own: no fair peer.
_HANDICAPS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="run cases whose name contains this text")
    parser.add_argument("--out", default="bench.jsonl", help="JSON-lines file the rows are appended to")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a twentieth of the rounds, small instances")
    size.add_argument("--full", action="store_true", help="also the cases whose peers need many minutes")
    parser.add_argument("--repeats", type=int, default=20, help="timed calls of each implementation, at least 1")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats must be >= 1, got {options.repeats}")
    _one_core()
    rows = run(options.only, quick=options.quick, full=options.full, repeats=options.repeats)
    if not rows:
        parser.error(f"no case has {options.only!r} in its name")
    with open(options.out, "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    print(f"{len(rows)} rows appended to {options.out}")


def run(only="", *, quick=False, full=False, repeats=20):
    """Rows of all cases whose name contains `only`; prints a table of each case as it ends."""
    import jax

    from experiments.lib import provenance
    from pallas_kernels import _bench

    for peer in ("river", "mpax", "torch"):
        if importlib.util.find_spec(peer) is None:
            print(f'Peer left out: {peer} is not installed (pip install -e ".[bench]").')
    peak = _bench.limits()
    stamp = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": provenance.revision().name,
        "jax": jax.__version__,
        "device": _processor(),
    }
    rows = []
    for case in _cases(quick, full):
        if only not in case.name:
            continue
        measured = _bench.measure(case, peak, repeats)
        _show(case, measured, peak)
        rows += [row | stamp for row in measured]
    return rows


def _cases(quick, full):
    tables = _tables()
    for bench in _benches():
        yield from bench.cases(tables, quick)
        if full and hasattr(bench, "full_cases"):
            yield from bench.full_cases(tables)


def _benches():
    """The kernels' benchmarks, then the families'."""
    from pallas_kernels import _discover

    for kernel in _discover.kernels():
        yield _discover.load(kernel, "bench")
    for path in sorted(pathlib.Path(__file__).parent.glob("*/bench.py")):
        yield importlib.import_module(f"experiments.{path.parent.name}.bench")


def _tables():
    """The published workloads; Adult only where it is already on this machine."""
    from experiments.data import adult, fetch
    from research.regret import problems

    law = problems.synthetic_law()
    tables = {"synthetic": (law.features, law.labels, law.awake)}
    if fetch.cached("adult"):
        table = adult.load()
        order = problems.permutation(problems.PAPER_SEEDS[0], len(table.labels))
        tables["adult"] = table.features[order], table.labels[order], table.awake[order]
    else:
        print("Adult is not cached: a stand-in of the same shape and awake rates is timed instead.")
    return tables


def _show(case, rows, peak):
    from rich.console import Console
    from rich.table import Table

    limit, memory = peak["float32"] / 1e9, peak["memory"] / 1e9
    found = sorted({name for row in rows for name in row["report"]})
    table = Table(title=f"{case.name} {case.shape}, {case.note}; limits {limit:.0f} Gflop/s, {memory:.0f} GB/s")
    table.add_column("implementation", no_wrap=True)
    shares = {"of_limit": "of limit", "of_limit_useful": "useful", "of_memory": "of memory"}
    shares = {key: text for key, text in shares.items() if any(row[key] is not None for row in rows)}
    for column in (f"{case.unit}/s", "each", "calls", "iqr", "compile s", *shares.values(), "x slowest", *found):
        table.add_column(column, justify="right")
    slowest = min(row["per_second"] for row in rows)
    for row in sorted(rows, key=lambda row: row["per_second"]):
        table.add_row(
            row["impl"],
            f"{row['per_second']:.3g}",
            _duration(1 / row["per_second"]),
            str(row["repeats"]),
            f"{row['iqr_ms'] / row['median_ms']:.0%}",
            f"{row['compile_ms'] / 1e3:.1f}",
            *("" if row[key] is None else f"{row[key]:.0%}" for key in shares),
            f"{row['per_second'] / slowest:.1f}",
            *(f"{row['report'][name]:.2g}" if name in row["report"] else "" for name in found),
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _duration(seconds):
    units = {"s": 1, "ms": 1e-3, "us": 1e-6}
    unit, size = next(((unit, size) for unit, size in units.items() if seconds >= size), ("ns", 1e-9))
    return f"{seconds / size:.3g} {unit}"


def _one_core():
    for name in _HANDICAPS:
        os.environ.pop(name, None)
    os.environ.update(_ONE_THREAD)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    _keep_memory()


def _keep_memory():
    """Memory of one call serves the next: else each fresh array of 25 MB costs as much in page faults as ten copies.

    Of the C library on Linux, before threads start: no private mappings, nothing given back, one arena for all.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        no_mappings, trim_threshold, arenas = -4, -1, -8
        for option, value in ((no_mappings, 0), (trim_threshold, 2**31 - 1), (arenas, 1)):
            mallopt(option, value)


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "cpu"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "cpu")


if __name__ == "__main__":
    main()
