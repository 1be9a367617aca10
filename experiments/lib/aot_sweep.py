"""Block sizes chosen by estimated cycles: every point of a kernel's `sweep()` on every chip, the best into the table.

What is best is best for all chips together, by the geometric mean of cycles per unit: the table has one entry for all
TPUs. Where a single chip would rather have another, that is said.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from experiments.lib import aot_output, aot_table
from experiments.lib.aot_jobs import Answer, KernelJob, parse_target, run
from experiments.lib.aot_text import each, ruled
from experiments.lib.command import told
from experiments.lib.errors import RunError, UsageError

__all__ = ["Choice", "choose", "entry", "merged", "sweep"]

_RUNNERS_UP = 4


class Choice(NamedTuple):
    """The best sizes of one bucket.

    Attributes:
      bucket: what the sizes are for, the keys of the tuned table: platform, dtype, width.
      sizes: the best, as a dict.
      mean: sizes that fit every chip -> geometric mean of cycles per unit, best first.
      best: chip -> the sizes that are best on it alone.
      per: the unit.
    """

    bucket: dict[str, Any]
    sizes: dict[str, int]
    mean: list[tuple[dict[str, int], float]]
    best: dict[str, dict[str, int]]
    per: str


class Point(NamedTuple):
    """Cycles per unit of one size on one chip; None where it does not fit or cannot be simulated."""

    bucket: dict[str, Any]
    sizes: dict[str, int]
    chip: str
    cycles: float | None
    per: str


def choose(points: Sequence[Point]) -> list[Choice]:
    """The best sizes of each bucket.

    Raises:
      RunError: no sizes of a bucket fit every chip.
    """
    chips = list(dict.fromkeys(point.chip for point in points))
    return [_choice(some, chips) for some in _grouped(points, lambda point: point.bucket)]


def _choice(points: Sequence[Point], chips: list[str]) -> Choice:
    bucket = points[0].bucket
    mean = []
    for some in _grouped(points, lambda point: point.sizes):
        cycles = [point.cycles for point in some]
        if len(cycles) == len(chips) and all(cycles):
            mean.append((some[0].sizes, math.exp(sum(map(math.log, cycles)) / len(cycles))))
    if not mean:
        raise RunError(f"no block size of {_text(bucket)} compiles on all of {', '.join(chips)}.")
    mean.sort(key=lambda item: item[1])
    able = [point for point in points if point.cycles]
    best = {chip: min((p for p in able if p.chip == chip), key=lambda p: p.cycles).sizes for chip in chips}
    return Choice(bucket, mean[0][0], mean, best, points[0].per)


def _grouped(points: Sequence[Point], key) -> list[list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(json.dumps(key(point), sort_keys=True), []).append(point)
    return list(groups.values())


def entry(choice: Choice, kernel: str, compiler: str) -> dict[str, Any]:
    """What the tuned table keeps of a choice."""
    import jax

    listed = ", ".join(f"{each(mean)} at {_sizes(sizes)}" for sizes, mean in choice.mean[: 1 + _RUNNERS_UP])
    apart = {chip: sizes for chip, sizes in choice.best.items() if sizes != choice.sizes}
    alone = "".join(f"; {chip} alone: {_sizes(sizes)}" for chip, sizes in apart.items())
    return {
        **choice.bucket,
        **choice.sizes,
        "note": f"cycles per {choice.per}, geometric mean over {', '.join(choice.best)}: {listed}{alone}",
        "device": "static estimate, not measured",
        "date": datetime.date.today().isoformat(),
        "jax": jax.__version__,
        "libtpu": compiler.removeprefix("libtpu "),
        "how": f"python -m experiments.aot --kernel={kernel} --sweep_blocks --write",
    }


def merged(table: dict[str, Any], entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The tuned table with each entry in the place of that of its bucket, or at the end."""
    buckets = list(table["buckets"])
    for new in entries:
        same = [i for i, old in enumerate(buckets) if all(old[k] == new[k] for k in ("platform", "dtype", "width"))]
        if same:
            buckets[same[0]] = new
        else:
            buckets.append(new)
    return {**table, "buckets": buckets}


def sweep(kernel: str, targets: Sequence[tuple[str, int]], values) -> int:
    """Costs every point, prints all of them and the best, and writes the table if asked; returns the exit code.

    Raises:
      UsageError: the kernel has no sweep.
    """
    from pallas_kernels import _discover

    cases = _discover.load(kernel, "cases")
    if not hasattr(cases, "sweep"):
        raise UsageError(f"{kernel}/cases.py has no sweep(): nothing to try.")
    listed = list(cases.sweep())
    jobs = [
        KernelJob(kernel, case.name, target, point=i, fresh=values.fresh)
        for i, (_, _, case) in enumerate(listed)
        for target in targets
    ]
    answers = []
    with aot_output.progress(len(jobs)) as said:
        for answer in run(jobs, values.jobs):
            answers.append(answer)
            said(answer)
    points = [_point(listed[answer.job.point], answer) for answer in answers]
    choices = choose(points)
    _show(points, choices, answers)
    compiler = next(answer.report.compiler for answer in answers if answer.report is not None)
    _write(kernel, [entry(choice, kernel, compiler) for choice in choices], write=values.write)
    return 0


def _point(listed, answer: Answer) -> Point:
    bucket, sizes, case = listed
    report = answer.report
    cycles = None if report is None or report.cycles is None else report.cycles / case.units
    return Point(dict(bucket), dataclasses.asdict(sizes), str(parse_target(*answer.job.target)), cycles, case.per)


def _show(points: list[Point], choices: list[Choice], answers: list[Answer]) -> None:
    out = aot_output.console()
    chips = list(dict.fromkeys(point.chip for point in points))
    for choice, of_bucket in zip(choices, _grouped(points, lambda point: point.bucket), strict=True):
        out.print(Text(f"{_text(choice.bucket)}: cycles per {choice.per}", style="bold"))
        table = ruled(["sizes"], [*chips, "geometric mean"])
        means = {_sizes(sizes): mean for sizes, mean in choice.mean}
        for some in _grouped(of_bucket, lambda point: point.sizes):
            cycles = {point.chip: point.cycles for point in some}
            name = _sizes(some[0].sizes)
            cells = ("-" if cycles.get(chip) is None else each(cycles[chip]) for chip in chips)
            table.add_row(name, *cells, each(means.get(name)))
        out.print(table)
        out.print(Text(f"best for all: {_sizes(choice.sizes)}" + _apart(choice)))
    out.print(Text(aot_table.MODEL))
    for answer in answers:
        if answer.problem:
            told(RunError(f"left out: {answer.job}: {answer.problem}"))


def _apart(choice: Choice) -> str:
    apart = {chip: sizes for chip, sizes in choice.best.items() if sizes != choice.sizes}
    if not apart:
        return ", and on each chip"
    return ", by the geometric mean; " + ", ".join(f"{chip} alone would take {_sizes(s)}" for chip, s in apart.items())


def _write(kernel: str, entries: list[dict[str, Any]], *, write: bool) -> None:
    path = Path(str(resources.files("pallas_kernels") / "tuned" / f"{kernel}.json"))
    before = json.loads(path.read_text()) if path.exists() else {"buckets": []}
    text = json.dumps(merged(before, entries), indent=2) + "\n"
    if write:
        aot_output.save(str(path), text)
        print(f"written: {path}; review it as any other change")
    else:
        print(f"--write would put into {path}:\n{json.dumps(entries, indent=2)}")


def _sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sizes.items())


def _text(bucket: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in bucket.items())
