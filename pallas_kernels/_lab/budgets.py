"""Cycles that each kernel may take on each chip, beside XLA's own schedule of the same operation.

  python -m pallas_kernels._lab.budgets              # cost every kernel, compare with budgets.json
  python -m pallas_kernels._lab.budgets --accept     # and store what was found: review it as any other change
  python -m pallas_kernels._lab.budgets --only=prequential_ridge

Estimates of the compiler, not measurements; a budget holds for the compiler that it was made with.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import sys
from collections.abc import Iterator
from importlib import resources
from typing import Any, NamedTuple

from pallas_kernels import _discover
from pallas_kernels._lab import marginal, process
from pallas_kernels._lab.case import Case
from pallas_kernels._lab.chips import CHIPS
from pallas_kernels._lab.report import LabError, Report

__all__ = ["MARGIN", "Budgeted", "budgeted", "compare", "main", "row", "stored"]

#: A kernel may get this much slower before somebody has to look.
MARGIN = 0.03

ACCEPT = "python -m pallas_kernels._lab.budgets --accept"


class Budgeted(NamedTuple):
    """One entry of the table: a kernel's case, by the kernel or by XLA, on one chip."""

    kernel: str
    case: Case
    chip: str
    impl: str  # "kernel" or "xla"

    @property
    def id(self) -> str:
        return f"{self.kernel}/{self.case.name}/{self.chip}/{self.impl}"

    def cost(self, *, fresh: bool = False) -> Report:
        """Raises LabError as `cost`, and where it does not fit the chip."""
        report = marginal.cost(self.case, self.impl, self.chip, fresh=fresh)
        if not report.fits:
            raise LabError(f"{self.id}: {report.why_not}")
        return report

    @property
    def units(self) -> float:
        return self.case.side(self.impl)[2]


def budgeted(only: str = "") -> Iterator[Budgeted]:
    """Every kernel's cases on every chip that the compiler simulates."""
    for kernel in _discover.kernels():
        if only in ("", kernel):
            for case in _discover.load(kernel, "cases").cases():
                for chip in (c.name for c in CHIPS.values() if c.simulated):
                    yield from (Budgeted(kernel, case, chip, impl) for impl in ("kernel", "xla"))


def row(entry: Budgeted, report: Report) -> dict[str, Any]:
    """One row of `budgets.json`: cycles are of `units` of what `per` names."""
    main_operation = max(report.operations, key=lambda operation: operation.calls * (operation.cycles or 0))
    return {
        "kernel": entry.kernel,
        "case": entry.case.name,
        "chip": entry.chip,
        "impl": entry.impl,
        "cycles": report.cycles,
        "units": entry.units,
        "per": entry.case.per,
        "bundles": main_operation.bundles,
        "spills": main_operation.spills,
        "fills": main_operation.fills,
        "occupancy": main_operation.occupancy,
        "bytes": report.bytes,
        "flops": report.flops,
        "passes": report.passes,
        "seconds": report.seconds,
        "roofline": report.roofline._asdict(),
        "of_roofline": report.of_roofline,
        "bound": report.bound,
        "method": report.method,
        "clock": report.clock,
    }


def stored() -> dict[str, Any]:
    """`budgets.json`: compiler, versions, date and rows."""
    return json.loads((resources.files("pallas_kernels") / "budgets.json").read_text())


def key(entry: dict[str, Any]) -> str:
    return "/".join(entry[part] for part in ("kernel", "case", "chip", "impl"))


def compare(new: dict[str, Any], old: dict[str, Any] | None) -> str | None:
    """Why a row breaks its budget, in one line, or None."""
    if old is None:
        return f"{key(new)} has no budget; store one by: {ACCEPT}"
    ours, budget = (entry["cycles"] / entry["units"] for entry in (new, old))
    if new["impl"] == "kernel" and ours > budget * (1 + MARGIN):
        return (
            f"{key(new)} takes {_each(new)} cycles per {new['per']}, {ours / budget - 1:+.1%} against its budget of "
            f"{_each(old)}; make it faster, or accept it by: {ACCEPT}"
        )
    return None


def _each(entry: dict[str, Any]) -> str:
    return f"{entry['cycles'] / entry['units']:,.4g}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", choices=["", *_discover.kernels()], help="one kernel")
    parser.add_argument("--accept", action="store_true", help="store what is found as the new budgets")
    parser.add_argument("--jobs", type=int, default=2, help="compilations at a time")
    options = parser.parse_args(arguments)
    # Nothing is run here; without it jax would look for a TPU, and say so.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        entries = list(budgeted(options.only))
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            reports = list(pool.map(Budgeted.cost, entries))
        compiler = process.compiler()
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = {entry.id: row(entry, report) for entry, report in zip(entries, reports, strict=True)}
    old = _rows_of(compiler)
    for name, new in rows.items():
        before = old.get(name)
        was = "" if before is None else f"  was {_each(before)}"
        print(f"{name:48} {_each(new):>12} cycles per {new['per']}{was}  [{new['method']}]")
    if options.accept:
        _store(rows, compiler, keep=old if options.only else {})
        return 0
    broken = [why for name, new in rows.items() if (why := compare(new, old.get(name)))]
    print("\n".join(broken), file=sys.stderr)
    return 1 if broken else 0


def _rows_of(compiler: str) -> dict[str, dict[str, Any]]:
    """Stored rows by id, none if another compiler made them."""
    try:
        found = stored()
    except FileNotFoundError:
        return {}
    if found["compiler"] != compiler:
        print(f"The stored budgets are of {found['compiler']}, this is {compiler}: nothing to compare with.")
        return {}
    return {key(entry): entry for entry in found["rows"]}


def _store(rows, compiler, keep) -> None:
    import jax

    table = {
        "compiler": compiler,
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
        "how": ACCEPT,
        "note": "the compiler's simulation of its own schedule: estimates, not measurements",
        "rows": [entry for _, entry in sorted((keep | rows).items())],
    }
    path = resources.files("pallas_kernels") / "budgets.json"
    path.write_text(json.dumps(table, indent=1) + "\n")
    print(f"{len(table['rows'])} rows in {path}")


if __name__ == "__main__":
    sys.exit(main())
