"""Result tables: CSV, Markdown and LaTeX from the same rows, and the number with its interval that they are made of."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.lib import files

__all__ = [
    "Measured",
    "Table",
    "bold",
    "csv_text",
    "latex_text",
    "markdown_text",
    "measured",
    "save",
    "without_interval",
]


class Measured(NamedTuple):
    """A mean over replicates and its interval.

    Attributes:
      value: the mean.
      low, high: ends of Student's 95 % interval; infinite where a single replicate says nothing about the spread.
      n: number of replicates.
    """

    value: float
    low: float
    high: float
    n: int


def measured(replicates) -> Measured:
    """Mean and Student's 95 % interval of `[R]` replicates."""
    from research.core.stats import t_interval

    found = t_interval(np.asarray(replicates, np.float64).reshape(-1))
    return Measured(float(found.mean), float(found.low), float(found.high), found.n)


def without_interval(value, n: int = 1) -> Measured:
    """A number without an interval: a largest or smallest one, a count, a median time.

    Args:
      n: of how many numbers it was made.
    """
    return Measured(float(value), -np.inf, np.inf, n)


class Table(NamedTuple):
    """A table of text and numbers.

    Attributes:
      header: one name per column.
      rows: cells: text, int, float or `Measured`.
      caption: one sentence.
      digits: decimals of floats and measured numbers.
      compare: positions of the columns that compete within a row; empty for no competition.
      better: "lower" or "higher".
    """

    header: tuple[str, ...]
    rows: tuple[tuple, ...]
    caption: str = ""
    digits: int = 3
    compare: tuple[int, ...] = ()
    better: str = "lower"


def bold(table: Table) -> list[int | None]:
    """For each row the column to print in bold: the one whose interval lies wholly on the better side of all others.

    None where intervals overlap, where they are unknown, or where fewer than two columns compete.
    """
    if table.better not in ("lower", "higher"):
        raise ValueError(f"better must be lower or higher, got {table.better!r}.")
    sign = 1 if table.better == "lower" else -1
    return [_winner(row, table.compare, sign) for row in table.rows]


def _winner(row: Sequence, compare: Sequence[int], sign: int) -> int | None:
    rivals = {k: row[k] for k in compare if isinstance(row[k], Measured)}
    if len(rivals) < 2 or len(rivals) < len(compare):
        return None
    ends = {k: sorted((sign * cell.low, sign * cell.high)) for k, cell in rivals.items()}
    best = min(rivals, key=lambda k: sign * rivals[k].value)
    return best if all(ends[best][1] < ends[k][0] for k in rivals if k != best) else None


def csv_text(table: Table) -> str:
    """All digits; a column of measured numbers becomes four: value, low, high, n."""
    wide = [any(isinstance(row[k], Measured) for row in table.rows) for k in range(len(table.header))]
    header = []
    for name, spread in zip(table.header, wide, strict=True):
        header += [name, f"{name} low", f"{name} high", f"{name} n"] if spread else [name]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        cells = []
        for cell, spread in zip(row, wide, strict=True):
            cells += ([*cell] if isinstance(cell, Measured) else [cell, "", "", ""]) if spread else [cell]
        writer.writerow(cells)
    return out.getvalue()


def markdown_text(table: Table) -> str:
    """A pipe table; numbers to the right."""
    lines = [f"{table.caption}\n"] if table.caption else []
    lines.append(_pipes(_escape(name, _MARKDOWN) for name in table.header))
    lines.append(_pipes("---:" if right else "---" for right in _numeric(table)))
    for row, winner in zip(table.rows, bold(table), strict=True):
        cells = (_cell(cell, table.digits, "±", "−", _MARKDOWN) for cell in row)
        lines.append(_pipes(f"**{cell}**" if k == winner else cell for k, cell in enumerate(cells)))
    return "\n".join(lines) + "\n"


def latex_text(table: Table) -> str:
    """A `tabular` with booktabs rules inside a `table`."""
    lines = [r"\begin{table}", r"\centering"]
    lines.append(r"\begin{tabular}{" + "".join("r" if right else "l" for right in _numeric(table)) + "}")
    lines.append(r"\toprule")
    lines.append(" & ".join(_escape(name, _LATEX) for name in table.header) + r" \\")
    lines.append(r"\midrule")
    for row, winner in zip(table.rows, bold(table), strict=True):
        cells = (_cell(cell, table.digits, r"$\pm$", "$-$", _LATEX) for cell in row)
        marked = (rf"\textbf{{{cell}}}" if k == winner else cell for k, cell in enumerate(cells))
        lines.append(" & ".join(marked) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.caption:
        lines.append(rf"\caption{{{_escape(table.caption, _LATEX)}}}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def save(table: Table, path: str | Path) -> list[Path]:
    """Writes `path`.csv, `path`.md and `path`.tex."""
    path, written = Path(path), []
    for suffix, text in (("csv", csv_text(table)), ("md", markdown_text(table)), ("tex", latex_text(table))):
        written.append(path.with_name(f"{path.name}.{suffix}"))
        files.replace(written[-1], text)
    return written


_MARKDOWN = {"|": r"\|", "*": r"\*", "_": r"\_"}
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≤": r"$\leq$", "≥": r"$\geq$", "±": r"$\pm$", "−": "$-$",
    "λ": r"$\lambda$",
}  # fmt: skip


def _escape(text: str, special: dict[str, str]) -> str:
    return "".join(special.get(letter, letter) for letter in text)


def _cell(cell, digits: int, plus_minus: str, minus: str, special: dict[str, str]) -> str:
    if isinstance(cell, Measured):
        half = (cell.high - cell.low) / 2
        value = _number(cell.value, digits, minus)
        return f"{value} {plus_minus} {half:.{digits}f}" if math.isfinite(half) else value
    if isinstance(cell, float | np.floating):
        return _number(float(cell), digits, minus)
    return _escape(str(cell), special)


def _number(value: float, digits: int, minus: str) -> str:
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return minus + text[1:] if text.startswith("-") else text


def _numeric(table: Table) -> list[bool]:
    columns = ([row[k] for row in table.rows] for k in range(len(table.header)))
    return [bool(column) and not any(isinstance(cell, str) for cell in column) for column in columns]


def _pipes(cells) -> str:
    return "| " + " | ".join(cells) + " |"
