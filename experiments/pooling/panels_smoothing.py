"""Drawings of over-smoothing: accuracy over depth from the last layer and from the history, and the spread of nodes."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["accuracy_panel", "best", "quick_look", "spread_panel", "worst"]

LOOKS = {
    "last": style.Look("last layer, ridge", style.PALETTE["vermilion"], "-", "o"),
    "history": style.Look("signed history, ridge", style.PALETTE["blue"], "-", "s"),
    "operator_last": style.Look("HISTOGRAPH, last layer only", style.PALETTE["orange"], (0, (5, 1)), "v"),
    "operator": style.Look("HISTOGRAPH, trained", style.PALETTE["green"], (0, (5, 1)), "^"),
}


def _depths(run, name: str) -> np.ndarray:
    axis = "trained" if name.startswith("operator") else "depth"
    return np.array([int(label) for label in run.axes[axis]])


def _accuracy(run, name: str) -> np.ndarray:
    """`[depth, R]`."""
    return run.curves[name][-1].T


def worst(run, name: str) -> Measured:
    """The accuracy at the depth where its mean is least."""
    values = _accuracy(run, name)
    return measured(values[np.argmin(values.mean(axis=1))])


def best(run, name: str, least: int) -> Measured:
    """The accuracy at the depth, among those of at least `least`, where its mean is largest."""
    values = _accuracy(run, name)[_depths(run, name) >= least]
    return measured(values[np.argmax(values.mean(axis=1))])


def vanished(run) -> Measured:
    """The largest share of test graphs at which the layers' weights fell back to a softmax."""
    return without_interval(run.curves["vanished"][-1].max(), run.config.run.replicates)


def accuracy_panel(ax, run) -> None:
    """Accuracy over depth, and what the protocol accepts."""
    for name, look in LOOKS.items():
        x = _depths(run, name)
        style.curve(ax, x, 100 * _accuracy(run, name), look, marker=look.marker, markersize=3, count=name == "last")
    ax.axhline(50, color="0.6", linestyle=":", linewidth=0.8)
    ax.set_xscale("log", base=2)
    style.plain_ticks(ax.xaxis, _depths(run, "last"))
    ax.set(xlabel="steps of smoothing L", ylabel="test accuracy, %")


def spread_panel(ax, run) -> None:
    """Spread of nodes in layer L, over that in layer 0."""
    look = style.Look("spread of nodes", style.PALETTE["purple"])
    style.curve(ax, _depths(run, "last"), run.curves["spread"][-1].T, look, marker="o", markersize=3, count=False)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    style.plain_ticks(ax.xaxis, _depths(run, "last"))
    ax.set(xlabel="steps of smoothing L", ylabel="spread of layer L / layer 0")


def quick_look(run) -> None:
    """Accuracy, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    accuracy_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("smoothing"))
