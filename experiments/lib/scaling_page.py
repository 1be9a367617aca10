"""Where `experiments.scaling` keeps what it found: `experiments/scaling.json`, a table in `experiments/SCALING.md`."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table as RichTable

from experiments.lib import files, scaling
from experiments.lib.aot_page import goes_on, renewed
from experiments.lib.aot_text import ruled, seconds_text
from experiments.lib.config import CHECKOUT
from experiments.lib.errors import RunError
from experiments.lib.scaling import Point
from experiments.lib.tables import Table, markdown_text

__all__ = ["HEADER", "PAGE", "STORE", "Page", "lines", "read", "stored", "terminal", "with_table"]

STORE, PAGE = CHECKOUT / "experiments" / "scaling.json", CHECKOUT / "experiments" / "SCALING.md"
HEADER = ("config", "scaling", *(f"{chips:,}" for chips in scaling.TARGETS), "below half at", "bound by, at most chips")
_LIMITS = {
    "schedule": "schedule", "mxu": "matrix unit", "hbm": "HBM", "links": "links", "network": "network between slices",
    "host": "host",
}  # fmt: skip


class Page(NamedTuple):
    """What `experiments/scaling.json` holds.

    Attributes:
      compiler, jax, date: with and on which points were last written.
      points: by config, mode and chips.
    """

    compiler: str
    jax: str
    date: str
    points: list[Point]

    def updated(self, new: Point) -> Page:
        """With one point replaced or added."""
        kept = {one[:3]: one for one in self.points} | {new[:3]: new}
        return self._replace(date=datetime.date.today().isoformat(), points=[kept[key] for key in sorted(kept)])

    def save(self) -> None:
        """Writes the numbers, and the table into the page."""
        plain = self._asdict() | {"points": [point.plain() for point in self.points]}
        files.replace(STORE, json.dumps(plain, indent=1) + "\n")
        files.replace(PAGE, with_table(self, PAGE.read_text()))


def read() -> Page:
    """The stored page. Raises RunError where there is none."""
    try:
        plain = json.loads(STORE.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{STORE.relative_to(CHECKOUT)} is missing: python -m experiments.scaling --write") from error
    return Page(**plain | {"points": [Point.of(one) for one in plain["points"]]})


def stored(compiler: str) -> Page:
    """The stored page; without points if another compiler made them, or there is none."""
    version = importlib.metadata.version("jax")
    found = read() if STORE.exists() else None
    return found if goes_on(found, compiler, version) else Page(compiler, version, "", [])


def lines(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """A row for each config and mode: step times with efficiencies, in brackets where they follow from others."""
    return [
        _line(config, mode, [point for point in points if point.config == config])
        for config in dict.fromkeys(point.config for point in points)
        for mode in scaling.MODES
    ]


def _line(config: str, mode: str, points: list[Point]) -> tuple[str, ...]:
    estimates = scaling.curve(points, mode)
    if not estimates:
        return (config, mode, *("-" for _ in scaling.TARGETS), "", "")
    shown = dict.fromkeys(scaling.TARGETS, "-")
    for one, efficiency in zip(estimates, scaling.efficiencies(estimates, mode), strict=True):
        text = f"{seconds_text(one.seconds)}, {efficiency:.0%}"
        shown[one.chips] = text if one.compiled else f"({text})"
    stop = scaling.stop(estimates, mode)
    return (config, mode, *shown.values(), f"{stop.chips:,}" if stop else "", _LIMITS[estimates[-1].bound])


def terminal(points: Sequence[Point]) -> RichTable:
    shown = ruled(HEADER[:2], HEADER[2:])
    for line in lines(points):
        shown.add_row(*line)
    return shown


def with_table(page: Page, text: str) -> str:
    """The text of `PAGE` with the table of its points, and why some have none."""
    failed = [
        f"- {one.config}, {one.mode}, {one.chips:,} chips: {one.why_not}" for one in page.points if one.why_not
    ]  # fmt: skip
    parts = [
        f"{page.compiler}, jax {page.jax}, {page.date}.\n",
        markdown_text(Table(HEADER, tuple(lines(page.points)))),
        *(["Not compiled:\n", "\n".join(failed) + "\n"] if failed else []),
    ]
    return renewed(text, "\n".join(parts))
