"""How the runs under a root stand: running, done, failed, killed or interrupted; step, age, revision.

    python -m experiments.status
    python -m experiments.status --root=runs --only=halpern --watch=5

Reads run directories only: it may run beside anything, on any machine that sees the root.
"""

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.lib import rundir
from experiments.lib.command import Parser, told
from experiments.lib.errors import RunError, Stop, UsageError

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
    found = filter(None, (_row(path.parent, root) for path in sorted(root.glob("*/*/*/meta.json"))))
    order = ("running", "failed", "killed", "interrupted", "missing", "done")
    return sorted((row for row in found if row.run.startswith(only)), key=lambda row: (order.index(row.state), row.run))


def _row(folder: Path, root: Path) -> Row | None:
    """None where the run is being overwritten, and has no beginning yet."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        steps = json.loads((folder / "config.json").read_text())["run"]["num_steps"]
        described = (folder / "meta.json").stat().st_mtime
    except FileNotFoundError:
        return None
    state, last = rundir.standing(folder), meta["attempts"][-1]
    written = max([described, *_times(folder)])
    step, seconds = last["to_step"], meta["wall_seconds"]
    if state in ("running", "killed"):  # between checkpoints the rows know more than meta.json
        step, seconds = max(step, _last_step(folder)), seconds + written - described
    failed = len(meta["failed"])
    note = f"{failed} replicates failed" if failed else ""
    if state in ("failed", "killed", "interrupted"):
        note = rundir.last_end(folder, meta) or state
    return Row(
        state, str(folder.relative_to(root)), step, steps, time.time() - written, seconds, meta["git_revision"][:12],
        note,
    )  # fmt: skip


def _times(folder: Path) -> Iterator[float]:
    """When what is in the folder was written; a run that goes on may take away a file before it is asked about."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield path.stat().st_mtime


def _last_step(folder: Path) -> int:
    """Step of the last whole row of clocks; 0 if there is none."""
    try:
        with open(folder / "timing.jsonl", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1024))
            whole = file.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return 0
    last = whole.rpartition(b"\n")[2]
    return json.loads(last)["step"] if last else 0


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
    parser = Parser(prog="python -m experiments.status", description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="runs", help="folder of all run directories (default: runs)")
    parser.add_argument("--only", default="", help="runs whose directory begins so, such as halpern/games")
    parser.add_argument("--watch", type=float, default=0.0, help="draw anew every so many seconds")
    from rich.console import Console
    from rich.live import Live

    try:
        given = parser.parse_args(arguments)
        if given.watch < 0:
            raise UsageError(f"--watch must be at least 0 seconds, got {given.watch}.")
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
