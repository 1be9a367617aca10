"""From finished runs to files: the picture or table, and every number in it beside the runs it comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.lib import files
from paper_figures import catalog
from paper_figures import claims as claims_lib
from paper_figures.catalog import Entry
from paper_figures.claims import Judged, Measured

__all__ = ["draw"]


def draw(entry: Entry, module: ModuleType, runs: Sequence, form: str, out: Path) -> tuple[list[Path], list[Judged]]:
    """Draws one figure (`.pdf`, `.png`) or table (`.csv`, `.md`, `.tex`), and writes `.json` with its numbers.

    Args:
      runs: what `rundir.load` returns, in the order of the figure's configs.
      form: quick, default or paper.
      out: folder of all figures; the files are `<out>/<family>/<name>.*`.

    Returns:
      the files, and the figure's claims with their verdicts.
    """
    from experiments.lib import style, tables

    path, sources = out / entry.name, catalog.sources(module)
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.is_table:
        table = module.table(runs)
        written, numbers = tables.save(table, path), _table_numbers(table)
    else:
        fig = style.stamp(module.draw(runs), runs, sources)
        written, numbers = style.save(fig, path), style.plotted(fig)
    judged = _judge(entry, module, runs, form)  # after drawing: a wrong claim is no reason to withhold the picture
    record = {
        "name": entry.name, "form": form, "caption": module.caption, **style.provenance(runs, sources),
        "numbers": numbers,
        "claims": [_claim_record(one) for one in judged],
    }  # fmt: skip
    written.append(path.with_name(f"{path.name}.json"))
    files.replace(written[-1], files.json_text(record))
    return written, judged


def _judge(entry: Entry, module: ModuleType, runs: Sequence, form: str) -> list[Judged]:
    if not hasattr(module, "claims"):
        return []
    return claims_lib.judge(entry.name, claims_lib.read(entry.expected), module.claims(runs), form)


def _table_numbers(table) -> list[dict[str, Any]]:
    return [
        {name: _measured_record(cell) if isinstance(cell, Measured) else _plain(cell)
         for name, cell in zip(table.header, row, strict=True)}
        for row in table.rows
    ]  # fmt: skip


def _claim_record(one: Judged) -> dict[str, Any]:
    return one.claim._asdict() | {
        "tolerance": dict(one.claim.tolerance),
        "ours": None if one.ours is None else _measured_record(one.ours),
        "verdict": one.verdict,
    }


def _measured_record(value: Measured) -> dict[str, Any]:
    return {name: _plain(number) for name, number in value._asdict().items()}


def _plain(value):
    """JSON has no infinity; integers and text stay."""
    if isinstance(value, str | int):
        return value
    return float(value) if math.isfinite(value) else None
