"""Numbers and tables as people read them in `experiments.aot`."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

__all__ = ["amount", "busiest", "bytes_text", "each", "ruled", "seconds_text", "share", "whole"]

_BUSIEST = 3
_ROUNDED = 0.9995  # of a unit are one of it in three digits, as a thousand of the next smaller would be


def ruled(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", overflow="fold")
    return table


def bytes_text(count: float) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def seconds_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= _ROUNDED * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def amount(count: float) -> str:
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(count) >= _ROUNDED * size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}" if value >= 0.1 else f"{100 * value:.2g}%"


def each(value: float | None) -> str:
    """Three digits, or all before the point."""
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def busiest(occupancy: dict[str, float] | None) -> str:
    ranked = sorted((occupancy or {}).items(), key=lambda item: -item[1])[:_BUSIEST]
    return ", ".join(f"{unit} {share:.0%}" for unit, share in ranked)
