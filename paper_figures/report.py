"""What `paper_figures.make` prints: progress, failures, and the table of claims."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from paper_figures.catalog import Entry, Needed
from paper_figures.claims import AGREES, DIFFERS, NOT_TESTABLE, Claim, Judged, Measured

__all__ = ["Reporter", "interval_text", "number_text", "published_text"]

_COLORS = {AGREES: "green", DIFFERS: "bold red", NOT_TESTABLE: "dim"}
_PIPE_WIDTH = 160  # a table written to a file is not folded to a terminal that is not there
_TAIL_LINES = 40


class Reporter:
    """Prints, and remembers what failed and what was skipped."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
        self.failures: list[str] = []
        self.skips: list[str] = []

    def failed(self, line: str, output: str = "") -> None:
        """One line, and the end of what a run said."""
        self.failures.append(line)
        self._line(f"failed  {line}" + ("; the end of what it said:" if output else ""), "red")
        for said in output.rstrip().splitlines()[-_TAIL_LINES:]:
            self._line(f"    {said}")

    def skipped(self, line: str) -> None:
        """One line."""
        self.skips.append(line)
        self._line(f"skipped {line}", "yellow")

    def drew(self, entry: Entry, written: Sequence[Path], seconds: float) -> None:
        """One line per figure."""
        kinds = " ".join(path.suffix for path in written)
        self._line(f"drawn   {entry.name} {kinds} ({seconds:.1f} s)")

    def _line(self, text: str, color: str = "") -> None:
        self.console.print(Text(text, style=color), soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, total: int, jobs: int) -> Iterator[Callable[[str, float], None]]:
        """A bar on a terminal, a line per finished run elsewhere; yields the function to call after each run."""
        columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._line(f"{total} {'run' if total == 1 else 'runs'} to do, {min(jobs, total)} at a time.")
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task("runs", total=total)
            count = 0

            def done(name: str, seconds: float) -> None:
                nonlocal count
                count += 1
                bar.advance(task)
                self._line(f"ran     {name} ({seconds:.1f} s) [{count}/{total}]")

            yield done

    def listing(self, plans: Sequence[tuple[Entry, str, Sequence[Needed]]]) -> None:
        """Names, runs that are finished and needed, captions."""
        table = Table(box=None, pad_edge=False)
        for heading in ("figure", "runs", "caption"):
            table.add_column(heading, no_wrap=heading != "caption")
        for entry, caption, needed in plans:
            finished = sum(run.finished for run in needed)
            runs = f"{finished}/{len(needed)}" if needed else "none"
            table.add_row(entry.name, runs, Text(" ".join(caption.split())))
        self.console.print(table)

    def claims(self, judged: Sequence[Judged]) -> None:
        """The table: claim, published, ours, interval, verdict; what this size cannot test is counted per figure."""
        if not judged:
            return
        table = Table(box=None, pad_edge=False)
        for heading in ("claim", "published", "ours", "interval", "verdict"):
            justify = "right" if heading in ("published", "ours") else "left"
            table.add_column(heading, justify=justify, no_wrap=heading != "claim")
        for figure, group in itertools.groupby(judged, key=lambda one: one.figure):
            rows = list(group)
            tested = [one for one in rows if one.verdict != NOT_TESTABLE]
            table.add_row(Text(figure, style="bold"))
            for one in tested:
                ours = number_text(one.ours.value if one.ours else math.nan)
                verdict = Text(one.verdict, style=_COLORS[one.verdict])
                table.add_row(Text(one.claim.claim), published_text(one.claim), ours, interval_text(one.ours), verdict)
            if len(tested) < len(rows):
                untested = f"{len(rows) - len(tested)} {'more ' if tested else ''}claims"
                table.add_row(Text(untested, style="dim"), "", "", "", Text(NOT_TESTABLE, style=_COLORS[NOT_TESTABLE]))
        self.console.print()
        self.console.print(table)

    def summary(self, judged: Sequence[Judged], out: Path) -> None:
        """How many claims got which verdict, and where the files are."""
        counts = Counter(one.verdict for one in judged)
        verdicts = ", ".join(f"{counts[name]} {name}" for name in _COLORS)
        self.console.print()
        for line in self.failures:
            self._line(f"failed  {line}", "red")
        for line in self.skips:
            self._line(f"skipped {line}", "yellow")
        self._line(f"Claims: {verdicts}.")
        self._line(f"Files: {out}")


def number_text(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def published_text(claim: Claim) -> str:
    """The number with its relation and unit."""
    sign = {"=": "", "<=": "≤ ", ">=": "≥ "}[claim.relation]
    return f"{sign}{number_text(claim.published)} {claim.unit}".rstrip()


def interval_text(ours: Measured | None) -> str:
    """The 95 % interval and the number of replicates."""
    if ours is None:
        return "–"
    if not (math.isfinite(ours.low) and math.isfinite(ours.high)):
        return f"n = {ours.n}"
    return f"[{number_text(ours.low)}, {number_text(ours.high)}] n = {ours.n}"
