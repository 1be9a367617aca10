"""Progress of long work on stderr, with rate and remaining time: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

__all__ = ["Progress", "track"]

T = TypeVar("T")

#: Seconds between plain lines; the first comes after one such interval, so short work prints none.
_PLAIN_SECONDS = 10.0


class Progress:
    """Counts units of work done; a context manager.

    Args:
      label: what the work is.
      total: units in all, >= 1.
      done: units done before this process began; they do not enter the rate.
      unit: word for the units.
      quiet: print nothing.
      stream: default stderr.
    """

    def __init__(
        self, label: str, total: int, *, done: int = 0, unit: str = "steps", quiet: bool = False,
        stream: TextIO | None = None,
    ):  # fmt: skip
        self._label, self._total, self._done, self._unit, self._quiet = label, total, done, unit, quiet
        self._stream = sys.stderr if stream is None else stream
        self._first, self._failed = done, 0
        self._bar = self._task = None

    def __enter__(self) -> "Progress":
        self._began = self._told = time.monotonic()
        if not self._quiet and self._stream.isatty():
            self._open_bar()
        return self

    def _open_bar(self) -> None:
        from rich import console, progress

        columns = (
            progress.TextColumn("{task.description}"), progress.BarColumn(),
            progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
            progress.TextColumn("{task.fields[rate]}"),
        )  # fmt: skip
        self._bar = progress.Progress(*columns, console=console.Console(file=self._stream), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=self._total, completed=self._done, unit=self._unit, rate="")

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, failed: int = 0) -> None:
        """Says that `done` units are done in all, and that `failed` others have been worked on and will not be."""
        self._done, self._failed = done, failed
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=self._pace(now))
        elif not self._quiet and now - self._told >= _PLAIN_SECONDS:
            self._told = now
            print(self.line(now), file=self._stream, flush=True)

    def _rate(self, now: float) -> float:
        return (self._done + self._failed - self._first) / max(now - self._began, 1e-9)

    def _pace(self, now: float) -> str:
        rate = self._rate(now)
        failed = f"{self._failed:,} failed, " if self._failed else ""
        left = _duration((self._total - self._done - self._failed) / rate) if rate > 0 else "unknown"
        return f"{failed}{_short(rate)} {self._unit}/s, {left} left"

    def line(self, now: float) -> str:
        """The plain line at a time of the monotonic clock."""
        count = f"{self._done:,}/{self._total:,} {self._unit} ({100 * self._done / self._total:.0f} %)"
        return f"{self._label}: {count}, {self._pace(now)}"


def track(items: Iterable[T], label: str, *, total: int, unit: str = "items", quiet: bool = False) -> Iterator[T]:
    """Yields the items and shows how many have been worked on."""
    with Progress(label, total, unit=unit, quiet=quiet) as progress:
        for number, item in enumerate(items, start=1):
            yield item
            progress.update(number)


def _short(value: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (limit if suffix != 'k' else 1e3):.1f}{suffix}"
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
