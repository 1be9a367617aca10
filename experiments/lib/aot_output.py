"""Where the answers of `experiments.aot` go: tables on the terminal, JSON, CSV, and a line of progress."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType

from experiments.lib import aot_table, files
from experiments.lib import config as config_lib
from experiments.lib.aot_jobs import Answer, ProgramJob, case_of, parse_target
from experiments.lib.errors import RunError
from experiments.lib.tables import Table, csv_text

__all__ = ["console", "csv_rows", "progress", "row", "save", "show"]

_WIDTH = 160  # of what is not a terminal


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, soft_wrap=False)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[Answer], None]]:
    """A line on stderr that says what was done last; nothing where stderr is no terminal."""
    done = 0
    with Console(stderr=True).status(f"compiling, 0 of {total} done") as status:

        def told(answer: Answer) -> None:
            nonlocal done
            done += 1
            status.update(f"compiling, {done} of {total} done, last {answer.job}")

        yield told if sys.stderr.isatty() else lambda answer: None


def show(answers: Sequence[Answer], values) -> None:
    """Prints the tables, or what `--json=-` and `--csv=-` ask for instead; writes the files.

    Raises:
      RunError: a file cannot be written.
    """
    if "-" not in (values.json, values.csv):
        for part in _tables(answers, everything=values.details):
            console().print(part)
    if values.csv:
        save(values.csv, csv_rows([row(answer) for answer in answers]))
    if values.json:
        save(values.json, json.dumps([_plain(answer) for answer in answers], indent=1) + "\n")


def csv_rows(rows: Sequence[dict[str, Any]]) -> str:
    """A column for every field that any of the rows has."""
    header = tuple(dict.fromkeys(name for one in rows for name in one))
    return csv_text(Table(header, tuple(tuple(one.get(name) for name in header) for one in rows)))


def save(path: str, text: str) -> None:
    """Writes a file whole, or to stdout for "-"."""
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        files.replace(Path(path), text)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def _is_tpu(answer: Answer) -> bool:
    return hasattr(answer.report, "operations")


def row(answer: Answer) -> dict[str, Any]:
    """The flat form of an answer, with fewer fields where there is no report."""
    job, report = answer.job, answer.report
    program = isinstance(job, ProgramJob)
    asked = _asked(job) if program else {"kernel": job.kernel, "case": job.case, "impl": job.impl}
    if report is None:
        return asked | {"target": str(parse_target(*job.target)), "fits": False, "why_not": answer.why_not}
    if not _is_tpu(answer):
        return aot_table.gpu_row(asked, report)
    if program:
        return aot_table.program_row(asked, report)
    case = case_of(job)
    return aot_table.kernel_row(asked, case.side(job.impl)[2], case.per, report)


def _asked(job: ProgramJob) -> dict[str, Any]:
    config = config_lib.resolve(job.reference, job.overrides).config
    return {
        "config": job.reference.removeprefix("configs/"),
        "replicates": config.run.replicates,
        "impl": job.impl or "kernels",
        "chunk": config.run.chunk,
        "steps": config.run.num_steps,
    }


def _tables(answers, *, everything: bool) -> Iterator[RenderableType]:
    for answer in answers:
        if answer.report is not None and not _is_tpu(answer):
            yield aot_table.gpu_kernels(f"{answer.job}", answer.report)
    on_tpus = [answer for answer in answers if _is_tpu(answer)]
    rows = [row(answer) for answer in on_tpus]
    if on_tpus and not isinstance(on_tpus[0].job, ProgramJob):
        yield aot_table.kernels(rows)
        return
    together: dict[tuple, list[Answer]] = {}
    for answer in on_tpus:
        together.setdefault((answer.job.reference, answer.job.target), []).append(answer)
    if len(together) > 1:
        yield Group(aot_table.programs(rows), *([aot_table.MODEL] if any(r["cycles"] for r in rows) else []))
    if len(together) == 1 or everything:
        for some in together.values():
            yield _details(some)


def _details(answers: list[Answer]) -> Group:
    asked = _asked(answers[0].job)
    report = answers[0].report
    title = f"{asked['config']}, {asked['replicates']:,} replicates, on {report.target} ({report.devices:,} devices)"
    names = {None: "with kernels", "xla": "XLA alone"}
    return aot_table.details(title, asked, {names[answer.job.impl]: answer.report for answer in answers})


def _plain(answer: Answer) -> dict[str, Any]:
    from pallas_kernels._lab import gpu
    from pallas_kernels._lab.report import to_json

    if answer.report is None:
        found = None
    elif _is_tpu(answer):
        found = json.loads(to_json(answer.report))
    else:
        found = gpu.to_plain(answer.report)
    return {"asked": answer.job._asdict(), "why_not": answer.problem, "summary": row(answer), "report": found}
