"""One axis of a window operator: sizes, and which windows an element lies in."""

from typing import NamedTuple

__all__ = ["Axis", "Geometry"]


class Axis(NamedTuple):
    """Window o covers the `window` padded positions from `stride * o` on; element i lies at the position i + low."""

    size: int
    window: int
    stride: int
    low: int
    high: int

    @property
    def out(self) -> int:
        """Number of windows."""
        return (self.size + self.low + self.high - self.window) // self.stride + 1

    @property
    def reach(self) -> int:
        """Windows at most that one element lies in."""
        return -(-self.window // self.stride)

    @property
    def padded(self) -> bool:
        """Whether a window may hold less than `window` elements."""
        return self.low > 0 or self.high > 0

    @property
    def overlaps(self) -> bool:
        return self.window > self.stride

    def empty(self) -> int | None:
        """A window without any element, or None."""
        if self.window <= self.low:
            return 0
        last = self.out - 1
        return last if self.stride * last >= self.low + self.size else None


class Geometry(NamedTuple):
    rows: Axis
    columns: Axis

    @property
    def area(self) -> int:
        return self.rows.window * self.columns.window

    @property
    def padded(self) -> bool:
        return self.rows.padded or self.columns.padded

    @property
    def out(self) -> tuple[int, int]:
        return self.rows.out, self.columns.out
