"""Every kernel on every chip under its roofline, beside XLA's own schedule of the same operation."""

import json
import math

from matplotlib.lines import Line2D

from experiments.lib import style
from experiments.lib.config import CHECKOUT
from experiments.lib.tables import Measured
from pallas_kernels._lab.chips import CHIPS
from paper_figures.kernels import roofline

#: No run: the stored reports of the accelerator laboratory.
CONFIGS = []
PAPER_CONFIGS = []
SOURCES = ["pallas_kernels/budgets.json"]

caption = (
    "Estimates of a compiler (libtpu, of the version in the title), not measurements: each kernel's cases (letters) "
    "by the simulation that the compiler makes of its own schedule, filled, above XLA's own schedule of the same "
    "operation, open; the line between them is the speed-up. Flops and bytes are those that the operation needs, by "
    "the leaner of the two. Solid: what HBM and the matrix unit in bfloat16 allow; dashed: float32 at the highest "
    "precision, six passes; dotted: the vector unit in float32. Clocks are inferred, that of tpu7x is unsure; where "
    "the simulator stops at XLA's operations, as on tpu7x, the compiler's quick estimate stands in for them."
)


def draw(runs):
    stored = _stored()
    rows = stored["rows"]
    kernels = sorted({row["kernel"] for row in rows})
    names = roofline.labels(rows)
    chips = [chip for chip in CHIPS.values() if chip.simulated]
    found = {chip.name: roofline.points(rows, chip.name) for chip in chips}
    lines = math.ceil(len(kernels) / 2)
    fig, axes = style.figure("text", 0.78 + 0.02 * lines, 2, 2, sharex=True, sharey=True)
    _limits(axes[0, 0], [point for panel in found.values() for point in panel], chips)
    for ax, chip in zip(axes.flat, chips, strict=True):
        roofline.panel(ax, chip, found[chip.name], kernels)
    for ax in axes[:, 0]:
        ax.set_ylabel("estimated flop/s")
    for ax in axes[1]:
        ax.set_xlabel("arithmetic intensity (flops per byte of HBM)")
    fig.suptitle(f"Estimates of the compiler {stored['compiler']}, not measurements", fontweight="bold")
    fig.legend(handles=_legend(kernels, names), loc="outside lower center", ncols=2, columnspacing=2.5)
    fig.draw_without_rendering()  # fixes the layout, in which labels are then placed
    for ax, chip in zip(axes.flat, chips, strict=True):
        roofline.place(ax, found[chip.name], names)
    return fig


def _limits(ax, points, chips):
    intensities = [point.intensity for point in points]
    rates = [rate for point in points for rate in point.rates.values()]
    corner = max(chip.flops / chip.bandwidth for chip in chips)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(min(intensities) / 3, max(3 * corner, 3 * max(intensities)))
    ax.set_ylim(min(rates) / 3, 2 * max(*rates, *(chip.flops for chip in chips)))


def _legend(kernels, names):
    handles = []
    for kernel in kernels:
        color, marker = roofline.look(kernel, kernels)
        cases = ", ".join(f"{letter} {case}" for (of, case), letter in names.items() if of == kernel)
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="", label=f"{kernel}: {cases}"))
    grey = {"color": style.PALETTE["grey"]}
    handles.append(
        Line2D([], [], marker="o", markerfacecolor="white", linestyle="", label="XLA's own schedule", **grey)
    )
    said = {
        "bfloat16": "roof: HBM, matrix unit in bfloat16",
        "float32": "roof: matrix unit in float32 (6 passes)",
        "vector": "roof: vector unit in float32",
    }
    handles += [Line2D([], [], linestyle=roofline.ROOFS[name], label=label, **grey) for name, label in said.items()]
    return handles


def claims(runs):
    """How many times faster than XLA's schedule the first family's kernel is, in its worst case on each chip."""
    rows = [row for row in _stored()["rows"] if row["kernel"] == "prequential_ridge"]
    found = {chip.name: roofline.points(rows, chip.name) for chip in CHIPS.values() if chip.simulated}
    return {
        f"prequential_ridge_{chip}": Measured(min(p.times_faster for p in points), -math.inf, math.inf, len(points))
        for chip, points in found.items()
    }


def _stored():
    return json.loads((CHECKOUT / SOURCES[0]).read_text())
