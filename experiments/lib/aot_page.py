"""The page that keeps what `experiments.aot --all` found: `configs/pods.json`, and its table in `configs/README.md`."""

from __future__ import annotations

import datetime
import itertools
import json
import sys
from typing import Any, NamedTuple

from experiments.lib import files
from experiments.lib.aot_jobs import parse_target
from experiments.lib.aot_pods import HEADER, TARGETS, cells, summary
from experiments.lib.config import CHECKOUT
from experiments.lib.pods import pods
from experiments.lib.tables import Table, markdown_text

__all__ = ["PAGE", "STORE", "Page", "goes_on", "read", "renewed", "stored", "with_table"]

STORE, PAGE = CHECKOUT / "configs" / "pods.json", CHECKOUT / "configs" / "README.md"
_BEGIN, _END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


class Page(NamedTuple):
    """What `configs/pods.json` holds.

    Attributes:
      compiler, jax, date: with and on which the rows were last written.
      rows: of `row`, by config and target.
    """

    compiler: str
    jax: str
    date: str
    rows: list[dict[str, Any]]

    def updated(self, new: dict[str, Any]) -> Page:
        """With the row of one config and target replaced or added, and those of configs that are gone left out."""
        known = [pod.name for pod in pods()]
        kept = {(one["config"], one["target"]): one for one in self.rows if one["config"] in known}
        kept[new["config"], new["target"]] = new
        order = {name: place for place, name in enumerate(known)}
        rows = sorted(kept.values(), key=lambda one: (order[one["config"]], one["chips"], one["target"]))
        return self._replace(date=datetime.date.today().isoformat(), rows=rows)

    def save(self) -> None:
        """Writes the numbers, and the table into the page."""
        files.replace(STORE, json.dumps(self._asdict(), indent=1) + "\n")
        files.replace(PAGE, with_table(self, PAGE.read_text()))


def read() -> Page:
    """The stored page, whatever compiler made it."""
    return Page(**json.loads(STORE.read_text()))


def stored(compiler: str, jax: str) -> Page:
    """The stored page; without rows if another compiler made them, or there is none."""
    found = read() if STORE.exists() else None
    return found if goes_on(found, compiler, jax) else Page(compiler, jax, "", [])


def goes_on(found: Any, compiler: str, jax: str) -> bool:
    """Whether there is a stored page and these versions made it; says so where others did."""
    if found is None:
        return False
    same = (found.compiler, found.jax) == (compiler, jax)
    if not same:
        print(f"The stored table is of {found.compiler}: it is begun anew.", file=sys.stderr)
    return same


def with_table(page: Page, text: str) -> str:
    """The text of `PAGE` with the table of its rows, why some do not fit, and which were not tried."""
    done = {(one["config"], one["target"]) for one in page.rows}
    left: dict[str, list[str]] = {}
    for pod, target in itertools.product(pods(), (str(parse_target(*target)) for target in TARGETS)):
        if (pod.name, target) not in done:
            left.setdefault(target, []).append(pod.name)
    failed = [f"- {one['config']} on {one['target']}: {one['why_not']}" for one in page.rows if not one["fits"]]
    parts = [
        f"{page.compiler}, jax {page.jax}, {page.date}: {summary(page.rows)}\n",
        markdown_text(Table(HEADER, tuple(map(cells, page.rows)))),
        *(["Those that do not:\n", "\n".join(failed) + "\n"] if failed else []),
        *(f"Not tried yet on {target}: {', '.join(names)}.\n" for target, names in left.items()),
    ]
    return renewed(text, "\n".join(parts))


def renewed(text: str, table: str) -> str:
    """The text with what stands between its two marks replaced."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table}\n{_END}{after}"
