"""How the runs under a root stand: running, done, failed, killed or interrupted; step, age, revision.

    python -m experiments.status
    python -m experiments.status --root=runs --only=halpern --watch=5

Reads run directories only: it may run beside anything, on any machine that sees the root.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.lib import rundir
from experiments.lib.command import told
from experiments.lib.errors import RunError, Stop

__all__ = ["Row", "main", "rows", "table"]

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "killed": "red", "interrupted": "yellow"}


class Row(NamedTuple):
    """One run.

    Attributes:
      state: as in `rundir.standing`.
      run: its directory, relative to the root.
      step, steps: done, and in all.
      age: seconds since something was last written.
      seconds: wall time over all attempts, while they ran.
      revision: of the code, twelve digits.
      note: failed replicates, or why it ended.
    """

    state: str
    run: str
    step: int
    steps: int
    age: float
    seconds: float
    revision: str
    note: str


def rows(root: Path, only: str = "") -> list[Row]:
    """A row for every run whose directory begins with `only`; those that move first, then by name.

    Raises:
      RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"--root: there is no folder {root}.")
    found = [_row(path.parent, root) for path in sorted(root.glob("*/*/*/meta.json"))]
    order = ("running", "failed", "killed", "interrupted", "missing", "done")
    return sorted((row for row in found if row.run.startswith(only)), key=lambda row: (order.index(row.state), row.run))


def _row(folder: Path, root: Path) -> Row:
    meta = json.loads((folder / "meta.json").read_text())
    steps = json.loads((folder / "config.json").read_text())["run"]["num_steps"]
    state, last = rundir.standing(folder), meta["attempts"][-1]
    written = max(path.stat().st_mtime for path in folder.iterdir())
    failed = len(meta["failed"])
    note = f"{failed} replicates failed" if failed else ""
    if state in ("failed", "killed", "interrupted"):
        note = last["why"] or state
    return Row(
        state, str(folder.relative_to(root)), last["to_step"], steps, time.time() - written, meta["wall_seconds"],
        meta["git_revision"][:12], note,
    )  # fmt: skip


def table(found: Sequence[Row]):
    """The rows as a table of rich, with a line of sums."""
    from rich.table import Table

    counts = Counter(row.state for row in found)
    title = ", ".join(f"{number} {state}" for state, number in counts.items()) or "no runs"
    out = Table(title=title)
    for name in ("state", "run", "step", "age", "ran", "revision", "note"):
        out.add_column(name, justify="right" if name in ("step", "age", "ran") else "left", overflow="fold")
    for row in found:
        cells = (row.run, f"{row.step}/{row.steps}", _duration(row.age), _duration(row.seconds), row.revision, row.note)
        out.add_row(f"[{_STYLES.get(row.state, 'white')}]{row.state}[/]", *cells)
    return out


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, once or again and again; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.status", description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="runs", help="folder of all run directories (default: runs)")
    parser.add_argument("--only", default="", help="runs whose directory begins so, such as halpern/games")
    parser.add_argument("--watch", type=float, default=0.0, help="draw anew every so many seconds")
    given = parser.parse_args(arguments)
    from rich.console import Console
    from rich.live import Live

    try:
        if not given.watch:
            Console().print(table(rows(Path(given.root), given.only)))
            return 0
        with Live(console=Console(), refresh_per_second=2) as live:
            while True:
                live.update(table(rows(Path(given.root), given.only)), refresh=True)
                time.sleep(given.watch)
    except KeyboardInterrupt:
        return 0
    except Stop as stop:
        return told(stop)


if __name__ == "__main__":
    sys.exit(main())
