"""Drawings of accuracies on changed pictures."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.pooling.invariance import CHANGES

__all__ = ["LOOKS", "SHIFTS", "accuracy", "bars_panel", "largest_difference", "margin", "quick_look", "shift_panel"]

SHIFTS = ("clean", "shift 1", "shift 2", "shift 3")

_P = style.PALETTE
LOOKS = {
    "max": style.Look("max", _P["black"], "-", "s"),
    "avg": style.Look("average", _P["blue"], "-", "o"),
    "mixed": style.Look("mixed", _P["grey"], "--", "D"),
    "gated": style.Look("gated", _P["purple"], "--", "v"),
    "gated per channel": style.Look("gated per channel", _P["purple"], ":", "<"),
    "tree": style.Look("tree", _P["vermilion"], "-", "^"),
    "soft": style.Look("SoftPool", _P["green"], "-", "P"),
    "power": style.Look("GeM", _P["orange"], "--", "X"),
    "poset N": style.Look("poset N", _P["sky"], "-", "h"),
    "poset N / 4": style.Look("poset N / 4", _P["sky"], ":", "8"),
}


def accuracy(run, change: str) -> np.ndarray:
    """`[R, pool]` in per cent, after the last epoch."""
    return 100 * run.results[f"accuracy/{change}"]


def margin(run, change: str, better: str, *others: str) -> Measured:
    """Points of accuracy by which one pool is ahead of the best other of the same seed."""
    names, found = run.axes["pool"], accuracy(run, change)
    rival = np.max([found[:, names.index(name)] for name in others], axis=0)
    return measured(found[:, names.index(better)] - rival)


def largest_difference(run, one: str, other: str) -> Measured:
    """Points between two pools of the same seed, the largest of all changes and seeds."""
    names = run.axes["pool"]
    found = np.stack([accuracy(run, change) for change in CHANGES])
    gap = np.abs(found[..., names.index(one)] - found[..., names.index(other)])
    return without_interval(gap.max(), gap.size)


def shift_panel(ax, run) -> None:
    """Accuracy against the shift, a line per pool."""
    for i, name in enumerate(run.axes["pool"]):
        values = np.stack([accuracy(run, change)[:, i] for change in SHIFTS])
        style.curve(ax, range(len(SHIFTS)), values, LOOKS[name], marker=LOOKS[name].marker, count=False)
    ax.set_xticks(range(len(SHIFTS)))
    ax.set(xlabel="shift of the test pictures, pixels of 24", ylabel="accuracy, %")


def bars_panel(ax, run, changes=tuple(change for change in CHANGES if change not in SHIFTS)) -> None:
    """Accuracy under the other changes, a group of points per change."""
    names = run.axes["pool"]
    places = np.linspace(-0.35, 0.35, len(names))
    for i, name in enumerate(names):
        found = [measured(accuracy(run, change)[:, i]) for change in changes]
        centre = np.array([one.value for one in found])
        reach = np.array([one.high - one.value for one in found])
        look = LOOKS[name]
        ax.errorbar(
            np.arange(len(changes)) + places[i], centre, yerr=np.where(np.isfinite(reach), reach, 0), fmt=look.marker,
            color=look.color, markersize=4, linewidth=0.8, label=look.label,
        )  # fmt: skip
    ax.set_xticks(range(len(changes)), [change.replace("turn ", "turned ") for change in changes], fontsize=7)
    ax.set(ylabel="accuracy, %")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    shift_panel(axes[0, 0], run)
    bars_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("invariance"))
