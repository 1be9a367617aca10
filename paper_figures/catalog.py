"""Which figures and tables there are, and which runs each needs. A figure is listed because its file exists."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from experiments.lib import config as config_lib
from experiments.lib.config import Resolved
from experiments.lib.errors import UsageError

__all__ = ["Entry", "Needed", "data_sets", "entries", "needed", "selected", "sources"]

FOLDER = Path(__file__).parent


class Entry(NamedTuple):
    """A figure or a table.

    Attributes:
      name: `<family>/fig_<name>` or `<family>/tab_<name>`.
      path: its module.
    """

    name: str
    path: Path

    @property
    def is_table(self) -> bool:
        return self.path.name.startswith("tab_")

    @property
    def expected(self) -> Path:
        """Published numbers for its `claims`; a figure and a table of one name share the file."""
        return self.path.parent / "expected" / f"{self.path.stem.partition('_')[2]}.json"

    def load(self) -> ModuleType:
        """Imports it and checks that it has the names that a figure or a table has; `claims` may be left out."""
        module = importlib.import_module(f"paper_figures.{self.path.parent.name}.{self.path.stem}")
        wanted = ["CONFIGS", "PAPER_CONFIGS", "caption", "table" if self.is_table else "draw"]
        if missing := [name for name in wanted if not hasattr(module, name)]:
            raise UsageError(f"{self.name} lacks {', '.join(missing)}.")
        return module


class Needed(NamedTuple):
    """A run that figures need.

    Attributes:
      reference: `path.py[:arg]`, relative to the checkout where the config lies in it.
      resolved: the config.
      directory: of the run, whether it exists or not.
    """

    reference: str
    resolved: Resolved
    directory: Path

    @property
    def id(self) -> str:
        return self.resolved.directory.as_posix()

    @property
    def finished(self) -> bool:
        return (self.directory / "DONE").exists()


def entries() -> list[Entry]:
    """All figures and tables, by family and name."""
    found = (path for path in FOLDER.glob("*/*.py") if re.match(r"(fig|tab)_\w+\.py$", path.name))
    return [Entry(f"{path.parent.name}/{path.stem}", path) for path in sorted(found)]


def selected(known: list[Entry], only: Iterable[str]) -> list[Entry]:
    """Those named; a family name stands for all of its figures. Raises `UsageError` for a name that nothing has."""
    wanted = list(only)
    for name in wanted:
        if not any(name in (entry.name, entry.path.parent.name) for entry in known):
            hint = config_lib.nearest(name, [entry.name for entry in known])
            raise UsageError(f"no figure {name}" + (f"; nearest: {hint}." if hint else "."))
    return [entry for entry in known if not wanted or {entry.name, entry.path.parent.name} & set(wanted)]


def needed(module: ModuleType, form: str, root: Path) -> list[Needed]:
    """The runs of one figure: `PAPER_CONFIGS` in the paper form, otherwise `CONFIGS`, where the quick form of `path.py`
    is `path.py:quick` and that of `path.py:arg` is `path.py:arg,quick`."""
    references = module.PAPER_CONFIGS if form == "paper" else module.CONFIGS
    if form == "quick":
        references = [f"{reference}{':' if reference.endswith('.py') else ','}quick" for reference in references]
    resolved = [config_lib.resolve(reference) for reference in references]
    return [Needed(name, config, root / config.directory) for name, config in zip(references, resolved, strict=True)]


def sources(module: ModuleType) -> tuple[str, ...]:
    """Files of the checkout that a figure is drawn from beside runs, or instead of them: its `SOURCES`, if it has any;
    the paths are relative."""
    return tuple(getattr(module, "SOURCES", ()))


def data_sets(resolved: Resolved) -> tuple[str, ...]:
    """Data sets that a config reads (`fetch.NAMES`, `fetch.BROUGHT`): its field `data`, several with commas."""
    return tuple(name for name in (resolved.config.get("data") or "").split(",") if name)
