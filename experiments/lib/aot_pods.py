"""Every pod config compiled for every target: jobs, rows and the table.

A row is one chip's share of one step: bytes, flops, collectives, and the time by `experiments.lib.step_time`.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table as RichTable

from experiments.lib import aot_output
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib import step_time as step_time_lib
from experiments.lib.aot_jobs import Answer, Gpus, ProgramJob, parse_target, run
from experiments.lib.aot_text import amount, bytes_text, ruled, seconds_text
from experiments.lib.errors import RunError, UsageError
from experiments.lib.pods import Pod
from pallas_kernels._lab import process

__all__ = ["HEADER", "MODEL", "TARGETS", "cells", "compile_all", "jobs", "row", "summary", "table"]

#: A pod of each generation, and two of the first.
TARGETS = (("v5e:16x16", 1), ("v6e:16x16", 1), ("v5e:16x16", 2))
MODEL = (
    "Of one chip and one step. Times are a model, not measurements: experiments/lib/step_time.py, on the compiler's "
    "quick estimate of each operation, or (*) on its simulation. >: loops whose rounds depend on data are counted "
    "once; <: of loops that data can end all rounds are counted, and of conditionals all branches; ~: both."
)
HEADER = ("config", "target", "fits", "HBM", "flops", "collectives", "their bytes", "step", "bound by", "compile s")
_LIMITS = {"schedule": "schedule", "mxu": "matrix unit", "hbm": "HBM", "links": "links", "network": "network"}


def jobs(chosen: Sequence[Pod], targets: Sequence[tuple[str, int]], **options) -> Iterator[ProgramJob]:
    """A job for each config and target, with as much for every chip as on the slice that the config is meant for.

    Args:
      options: fields of `ProgramJob`.

    Raises:
      UsageError: a target that is no slice of TPUs.
    """
    parsed = {target: parse_target(*target) for target in targets}
    for target, found in parsed.items():
        if isinstance(found, Gpus):
            raise UsageError(f"--all is about slices of TPUs, got --topology={target[0]}.")
    for pod in chosen:
        sizes = mesh_lib.parse(pod.mesh)
        for target, found in parsed.items():
            yield ProgramJob(pod.reference, pod.on(found.devices), target, sizes, **options)


def compile_all(chosen: Sequence[Pod], targets: Sequence[tuple[str, int]], values) -> int:
    """Compiles all of them, tells each as it is done, and shows the table; returns the exit code."""
    from experiments.lib import aot_page

    names = {pod.reference: pod.name for pod in chosen}
    options = {"simulate": values.compile_only is False, "fresh": values.fresh, "limit": values.limit_seconds}
    wanted, rows = list(jobs(chosen, targets, **options)), []
    page = aot_page.stored(process.compiler(), importlib.metadata.version("jax")) if values.write else None
    for number, found in enumerate(run(wanted, values.jobs), 1):
        rows.append(row(found, names[found.job.reference]))
        print(f"{number}/{len(wanted)}  {_line(rows[-1])}", file=sys.stderr, flush=True)
        if page is not None:
            page = page.updated(rows[-1])
            page.save()
    if "-" not in (values.json, values.csv):
        for part in (table(rows), MODEL, summary(rows)):
            aot_output.console().print(part)
    if values.csv:
        aot_output.save(values.csv, aot_output.csv_rows(rows))
    if values.json:
        aot_output.save(values.json, json.dumps(rows, indent=1) + "\n")
    return 0 if all(one["fits"] for one in rows) else RunError.exit_code


def _line(one: dict[str, Any]) -> str:
    spent = f", compiled in {one['compile_seconds']:.1f} s" if "compile_seconds" in one else ""
    told = f"{seconds_text(one['step_seconds'])} a step" if one["fits"] else f"no: {one['why_not']}"
    return f"{one['config']} on {one['target']}: {told}{spent}"


def row(answer: Answer, name: str) -> dict[str, Any]:
    """Flat values, of one chip and one step; without a report only which, why not, and None."""
    target, report = parse_target(*answer.job.target), answer.report
    found = {"config": name, "target": str(target), "chips": target.devices, "fits": not answer.problem,
             "why_not": answer.problem}  # fmt: skip
    if report is None:
        return found
    found |= {
        "bytes": report.memory and report.memory.total,
        "available_bytes": report.memory and report.memory.available,
        "missing_bytes": report.missing,
        "lower_seconds": round(report.lower_seconds, 1),
        "compile_seconds": round(report.compile_seconds, 1),
    }
    if not report.fits:
        return found
    config = config_lib.resolve(answer.job.reference, answer.job.overrides).config
    work = step_time_lib.work(report, target.chip, config.run.chunk)
    time = step_time_lib.step_time(work, target)
    return found | {
        "flops": report.flops / config.run.chunk,
        "collectives": sum(c.calls for c in work.collectives),
        "collective_bytes": sum(c.calls * c.bytes for c in work.collectives),
        "step_seconds": time.seconds,
        "communication_seconds": time.communication,
        "bound": time.bound,
        "simulated": work.simulated,
        "side": _side(report.caveats),
    }


def _side(caveats: Sequence[str]) -> str:
    """On which side of the estimate the truth lies, as far as loops and conditionals say."""
    more = any("depends on data; counted once" in caveat for caveat in caveats)
    less = any("all are counted" in caveat or "all branches are counted" in caveat for caveat in caveats)
    return "~" if more and less else ">" if more else "<" if less else ""


def table(rows: Sequence[dict[str, Any]]) -> RichTable:
    """For a terminal."""
    shown = ruled(HEADER[:2], HEADER[2:])
    for one in rows:
        shown.add_row(*cells(one))
    return shown


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """How many there are, how many fit, and how long compiling took."""
    fit, spent = sum(one["fits"] for one in rows), sum(one.get("compile_seconds", 0.0) for one in rows)
    left = f", {len(rows) - fit} do not" if fit < len(rows) else ""
    return f"{fit} of {len(rows)} compile and fit{left}; the compiler took {seconds_text(spent)}."


def cells(one: dict[str, Any]) -> tuple[str, ...]:
    need, seconds = one.get("bytes"), one.get("compile_seconds")
    head = one["config"], one["target"], "yes" if one["fits"] else "no"
    memory = "" if need is None else bytes_text(need)
    compiling = "" if seconds is None else f"{seconds:.1f}"
    if "step_seconds" not in one:
        return (*head, memory, "", "", "", "", "", compiling)
    sent = bytes_text(one["collective_bytes"]) if one["collectives"] else ""
    calls = f"{one['collectives']:,.3g}" if one["collectives"] else "none"
    step = f"{one['side']} ".lstrip() + seconds_text(one["step_seconds"]) + "*" * one["simulated"]
    return (*head, memory, amount(one["flops"]), calls, sent, step, _LIMITS[one["bound"]], compiling)
