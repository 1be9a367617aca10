"""Draws the figures from finished runs, compares their numbers with the published ones, and says what it did.

    python -m paper_figures.make --list
    python -m paper_figures.make --form=quick --recompute           # what `make figures` does; the tests add --check
    python -m paper_figures.make --only=regret/fig_medical --recompute

`--recompute` runs what is missing, resumes what is unfinished and leaves finished runs alone. `--check` ends with a
non-zero code if a published number and ours differ. jax is imported by the runs, not here.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from experiments.data import fetch
from experiments.lib import rundir
from experiments.lib.config import CHECKOUT
from experiments.lib.errors import EXIT_FAILED_REPLICATES, RunError, Stop
from paper_figures import catalog, runner
from paper_figures.catalog import Entry, Needed
from paper_figures.claims import DIFFERS, FORMS, Judged
from paper_figures.report import Reporter

__all__ = ["main"]

#: Bytes. A larger data set is fetched only when asked for.
SMALL_DOWNLOAD = 1_000_000

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}


class Plan(NamedTuple):
    """A figure, and the runs it needs."""

    entry: Entry
    module: ModuleType
    needed: list[Needed]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0; 1 if a run or figure failed or, under `--check`, numbers differ; 2 for wrong usage."""
    arguments = _parse(argv)
    say = Reporter()
    try:
        entries = catalog.selected(catalog.entries(), filter(None, arguments.only.split(",")))
        plans = _plans(entries, arguments, say)
        if arguments.list:
            say.listing([(plan.entry, plan.module.caption, plan.needed) for plan in plans])
            return 1 if say.failures else 0
        plans = _with_data(plans, arguments, say)
        if arguments.recompute:
            _recompute(plans, arguments, say)
        judged = _draw_all(plans, arguments, say)
    except Stop as stop:
        print(f"error: {stop}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    say.claims(judged)
    say.summary(judged, arguments.out)
    differs = any(one.verdict == DIFFERS for one in judged)
    return 1 if say.failures or (arguments.check and differs) else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m paper_figures.make", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="names, captions, state of the runs; draws nothing")
    parser.add_argument("--only", default="", metavar="NAME,...", help="figures like regret/fig_medical, or families")
    parser.add_argument("--form", choices=FORMS, default="default", help="size of the runs (default: %(default)s)")
    parser.add_argument("--recompute", action="store_true", help="do the runs that are missing or unfinished")
    parser.add_argument("--check", action="store_true", help="fail if a published number and ours differ")
    parser.add_argument(
        "--data", choices=("cached", "all"), default="cached",
        help="cached: skip experiments whose data is not here and larger than 1 MB; all: fetch it",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=0, help="runs at a time (default: one per core, at most four)")
    parser.add_argument("--root", type=Path, default=CHECKOUT / "runs", help="folder of all runs")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "paper_figures" / "out", help="folder of the figures")
    arguments = parser.parse_args(argv)
    if arguments.jobs < 0:
        parser.error(f"--jobs must be >= 0, got {arguments.jobs}")
    arguments.root, arguments.out = arguments.root.expanduser().absolute(), arguments.out.expanduser().absolute()
    return arguments


def _plans(entries: Sequence[Entry], arguments: argparse.Namespace, say: Reporter) -> list[Plan]:
    plans = []
    for entry in entries:
        try:
            module = entry.load()
            plans.append(Plan(entry, module, catalog.needed(module, arguments.form, arguments.root)))
        except Exception as error:  # one figure that cannot be read must not take the others with it
            say.failed(f"{entry.name}: {type(error).__name__}: {error}")
    return plans


def _with_data(plans: list[Plan], arguments: argparse.Namespace, say: Reporter) -> list[Plan]:
    """The plans whose data is here or has just been fetched. Fetching comes before the runs, so that two runs that
    share a data set do not download it twice."""
    absent: dict[str, str] = {}
    pending = [run for plan in plans for run in plan.needed if not run.finished]
    if arguments.recompute:
        for name in sorted({name for run in pending for name in catalog.data_sets(run.resolved)}):
            if fetch.cached(name):
                continue
            if name in fetch.BROUGHT:
                absent[name] = f"not here; {fetch.BROUGHT[name].advice}"
                continue
            if arguments.data == "cached" and fetch.size(name) > SMALL_DOWNLOAD:
                absent[name] = f"{fetch.megabytes(fetch.size(name))}, not here; make figures DATA=all gets it"
                continue
            try:
                fetch.read(fetch.source(name))
            except fetch.DataError as error:
                absent[name] = str(error)
                say.failed(str(error))
    kept = []
    for plan in plans:
        lacking = {name for run in plan.needed if not run.finished for name in catalog.data_sets(run.resolved)}
        if reasons := [f"{name} ({absent[name]})" for name in sorted(lacking & absent.keys())]:
            say.skipped(f"{plan.entry.name}: needs the data set {', '.join(reasons)}.")
        else:
            kept.append(plan)
    return kept


def _recompute(plans: Sequence[Plan], arguments: argparse.Namespace, say: Reporter) -> None:
    unfinished = {run.directory: run for plan in plans for run in plan.needed if not run.finished}
    if not unfinished:
        return
    jobs = arguments.jobs or runner.default_jobs()
    outcomes = runner.run_all(list(unfinished.values()), arguments.root, jobs=jobs)
    with contextlib.closing(outcomes), say.progress(len(unfinished), jobs) as done:
        for outcome in outcomes:
            done(outcome.needed.id, outcome.seconds)
            if outcome.exit_code == EXIT_FAILED_REPLICATES:
                say.failed(f"{outcome.needed.id}: some replicates failed", outcome.output)
            elif outcome.exit_code:
                say.failed(f"{outcome.needed.id}: exit code {outcome.exit_code}", outcome.output)


def _draw_all(plans: Sequence[Plan], arguments: argparse.Namespace, say: Reporter) -> list[Judged]:
    from paper_figures import drawing

    judged: list[Judged] = []
    for plan in plans:
        if missing := [run.reference for run in plan.needed if not run.finished]:
            hint = "" if arguments.recompute else "; --recompute does them"
            say.skipped(f"{plan.entry.name}: runs are missing: {', '.join(missing)}{hint}.")
            continue
        if absent := [name for name in catalog.sources(plan.module) if not (CHECKOUT / name).exists()]:
            say.skipped(f"{plan.entry.name}: files are missing: {', '.join(absent)}.")
            continue
        began = time.monotonic()
        try:
            runs = [rundir.load(run.directory) for run in plan.needed]
            written, found = drawing.draw(plan.entry, plan.module, runs, arguments.form, arguments.out)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:  # the next figure would meet it too
                raise RunError(f"{plan.entry.name}: cannot write under {arguments.out}: {error.strerror}.") from error
            say.failed(f"{plan.entry.name} could not be drawn", traceback.format_exc())
            continue
        judged.extend(found)
        say.drew(plan.entry, written, time.monotonic() - began)
    return judged


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the runs it started are told to end as well
    sys.exit(main())
