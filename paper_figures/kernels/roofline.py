"""Points under rooflines: what the stored reports of `pallas_kernels/budgets.json` say, and how they are drawn."""

import itertools
import re
import string
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.patheffects import withStroke

from experiments.lib import style
from pallas_kernels._lab.chips import Chip

__all__ = ["ROOFS", "Point", "labels", "look", "panel", "place", "points"]

#: bfloat16 products that make up one of float32 at the highest precision.
FLOAT32_PASSES = 6
#: Line styles of the matrix unit's two roofs and of the vector unit's.
ROOFS = {"bfloat16": "-", "float32": (0, (4, 2)), "vector": (0, (1, 1.5))}
_COLORS = [color for name, color in style.PALETTE.items() if name not in ("yellow", "black", "grey")]
_MARKERS = "osD^vPXhp<>d8"
_GREY = {"color": style.PALETTE["grey"], "linewidth": 0.9, "zorder": 1}
#: Where a label may stand, seen from its point, in points; the first that is free.
_PLACES = ((6, 0), (-6, 0), (5, 5), (-5, 5), (5, -6), (-5, -6), (0, 8), (0, -9), (11, 0), (-11, 0))


class Point(NamedTuple):
    """One case on one chip.

    Attributes:
      kernel, case: its names.
      intensity: flops per byte of HBM traffic.
      rates: flop/s by implementation, "kernel" and "xla".
    """

    kernel: str
    case: str
    intensity: float
    rates: dict[str, float]

    @property
    def times_faster(self) -> float:
        """Of the kernel than of XLA's schedule."""
        return self.rates["kernel"] / self.rates["xla"]


def points(rows: Iterable[Mapping[str, Any]], chip: str) -> list[Point]:
    """Rows of one chip, by kernel and case.

    Flops and bytes are those of the leaner implementation, for both: what the operation needs. So the two of a case
    stand above each other, as far apart as their times.
    """
    rows = sorted((r for r in rows if r["chip"] == chip), key=lambda r: (r["kernel"], _natural(r["case"])))
    found = []
    for (kernel, case), group in itertools.groupby(rows, key=lambda r: (r["kernel"], r["case"])):
        both = {r["impl"]: r for r in group}
        flops, num_bytes = (min(r[what] / r["units"] for r in both.values()) for what in ("flops", "bytes"))
        rates = {impl: flops * r["units"] / r["seconds"] for impl, r in both.items()}
        found.append(Point(kernel, case, flops / num_bytes, rates))
    return found


def labels(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """A letter for each case of each kernel, the same in every panel."""
    cases = sorted({(r["kernel"], r["case"]) for r in rows}, key=lambda case: (case[0], _natural(case[1])))
    names = itertools.chain(string.ascii_lowercase, map("".join, itertools.product(string.ascii_lowercase, repeat=2)))
    return dict(zip(cases, names, strict=False))


def _natural(name: str) -> list:
    """Sorts d96 before d256."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def look(kernel: str, kernels: list[str]) -> tuple[str, str]:
    """Colour and marker: together they tell more kernels apart than either could."""
    index = kernels.index(kernel)
    return _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]


def panel(ax, chip: Chip, found: list[Point], kernels: list[str]) -> None:
    """Roofs of a chip, and its points; set the limits of the axes before."""
    low, high = ax.get_xlim()
    peaks = {"bfloat16": chip.flops, "float32": chip.flops / FLOAT32_PASSES, "vector": chip.vector_flops}
    for name, flops in peaks.items():
        corner = flops / chip.bandwidth
        x = np.array([low, np.clip(corner, low, high), high])
        ax.plot(x, np.minimum(x * chip.bandwidth, flops), linestyle=ROOFS[name], label=f"_{name}", **_GREY)
    for point in found:
        color, marker = look(point.kernel, kernels)
        x, name = point.intensity, f"{point.kernel} {point.case}"
        ax.plot([x] * len(point.rates), list(point.rates.values()), color=color, linewidth=0.8, label="_", zorder=2)
        for impl, rate in point.rates.items():
            filled = impl == "kernel"
            ax.scatter([x], [rate], s=20, marker=marker, edgecolors=color, facecolors=color if filled else "white",
                       linewidths=0.9, label=f"{name}, {impl}", zorder=4 if filled else 3)  # fmt: skip
    ax.set_title(f"{chip.name}: {chip.flops / 1e12:.0f} Tflop/s, {chip.bandwidth / 1e9:.0f} GB/s")


def place(ax, found: list[Point], names: Mapping[tuple[str, str], str]) -> None:
    """Writes each case's letter beside its kernel, where no marker and no other letter stands; call it after the
    layout of the figure is known."""
    scale = ax.figure.dpi / 72
    taken = []
    for point in found:
        (x, low), (_, high) = (ax.transData.transform((point.intensity, f(point.rates.values()))) for f in (min, max))
        taken += [((x, y), 3.5 * scale) for y in (low, high)]
        taken += [((x, y), scale) for y in np.arange(low, high, 4 * scale)]  # the line between them
    for point in found:
        at = ax.transData.transform((point.intensity, point.rates["kernel"]))
        free = (move for move in _PLACES if _free(at + np.multiply(move, scale), taken, 3 * scale))
        move = next(free, _PLACES[0])
        taken.append((at + np.multiply(move, scale), 3 * scale))
        text = ax.annotate(names[point.kernel, point.case], (point.intensity, point.rates["kernel"]), xytext=move,
                           textcoords="offset points", ha="center", va="center_baseline", fontsize=6.5, zorder=5,
                           path_effects=[withStroke(linewidth=1.5, foreground="white")])  # fmt: skip
        text.set_in_layout(False)


def _free(position, taken, radius: float) -> bool:
    return all(np.hypot(*(position - np.asarray(other))) > radius + size for other, size in taken)
