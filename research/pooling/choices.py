"""Which formulation serves which windows, and what that was decided on: reviewed measurements on one CPU core.

Milliseconds for `[32, 56, 56, 64]` float32, CPU time, least of several interleaved repeats, memory reused between
calls; with other processes on the machine, so rows compare within a line only. AMD EPYC (Zen 3), jax 0.10.2, 2026-11.
Windows 2x2 by 2, 3x3 by 2 and 3x3 by 1 stand for 1, at most 4 and more windows of an element. A Python number as
exponent, whole and at most `power_windows.LARGEST`, is not in the table: multiplication ("powers") takes a third of the
time of both. Sums, means and extremes have strided slices everywhere: separable passes and one map at a time were no
faster forwards (2.5, 2.4 and 4.7 ms for the maximum of 2x2, 4.5, 4.0 and 33 of 3x3 by 1), and backwards the place of
the extreme in a byte beat places in two and four bytes (17 to 18 against 19 to 21 ms for 3x3 by 1), places along each
axis (23) and terms padded one by one (203).
"""

from typing import NamedTuple

from research.pooling.geometry import Geometry

__all__ = ["SMOOTH", "Row", "smooth"]


class Row(NamedTuple):
    """One decision between the formulations of `smooth_windows`."""

    kind: str  # "lme" stands for "lse" too, "power" for "lp": the same operations
    windows: int  # of an element
    direction: str  # "value", or "gradient": value and derivative together
    chosen: str
    apart: float | None  # ms; None where it is so slow that it was not repeated
    shared: float


SMOOTH = (
    Row("soft", 1, "value", "apart", 5.6, 9.1),
    Row("soft", 1, "gradient", "shared", 23.9, 18.8),
    Row("soft", 4, "value", "apart", 9.4, 12.0),
    Row("soft", 4, "gradient", "shared", 38.4, 21.8),
    Row("soft", 9, "value", "shared", 44.5, 15.9),
    Row("soft", 9, "gradient", "shared", 153.2, 43.3),
    Row("lme", 1, "value", "apart", 8.5, 10.6),
    Row("lme", 1, "gradient", "shared", 19.9, 16.8),
    Row("lme", 4, "value", "shared", 12.2, 10.8),
    Row("lme", 4, "gradient", "shared", 30.3, 18.7),
    Row("lme", 9, "value", "shared", None, 15.2),
    Row("lme", 9, "gradient", "shared", None, 29.6),
    Row("power", 1, "value", "apart", 17.9, 22.3),
    Row("power", 1, "gradient", "apart", 29.0, 37.5),
    Row("power", 4, "value", "shared", 33.7, 25.3),
    Row("power", 4, "gradient", "shared", 56.4, 44.2),
    Row("power", 9, "value", "shared", None, 31.6),
    Row("power", 9, "gradient", "shared", None, 53.3),
)

_STANDS_FOR = {"lse": "lme", "lp": "power"}
_CHOSEN = {(row.kind, row.windows, row.direction): row.chosen for row in SMOOTH}


def smooth(kind: str, geometry: Geometry, direction: str) -> str:
    """The formulation of a smooth kind, "apart" or "shared", for "value" or "gradient"."""
    windows = 1
    for k, s in zip(geometry.window, geometry.strides, strict=True):
        windows *= -(-k // s)
    measured = 1 if windows == 1 else 4 if windows <= 4 else 9
    return _CHOSEN[_STANDS_FOR.get(kind, kind), measured, direction]
