"""Drawings of pooling among distractors: accuracy by share of distractors, and over epochs."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["accuracy", "epochs_panel", "highest", "quick_look", "ratio_panel"]

LOOKS = {
    "mean": style.Look("mean", style.PALETTE["black"], (0, (1, 1)), "v"),
    "max": style.Look("maximum", style.PALETTE["purple"], (0, (3, 1, 1, 1)), "D"),
    "attention": style.Look("attention", style.PALETTE["orange"], (0, (5, 1)), "s"),
    "graph": style.Look("token graph (GLOT)", style.PALETTE["blue"], "-", "o"),
}


def _ratios(run) -> np.ndarray:
    return np.array([float(label) for label in run.axes["ratio"]])


def accuracy(run, pooling: str, ratio: float) -> Measured:
    """Test accuracy after the last epoch."""
    return measured(run.curves[pooling][-1][:, list(_ratios(run)).index(ratio)])


def highest(run, ratio: float) -> Measured:
    """The best of the poolings that see tokens one by one."""
    return max(
        (accuracy(run, pooling, ratio) for pooling in LOOKS if pooling != "graph"), key=lambda found: found.value
    )


def ratio_panel(ax, run) -> None:
    """Accuracy after the last epoch by share of distractors."""
    for pooling, look in LOOKS.items():
        style.curve(ax, 100 * _ratios(run), 100 * run.curves[pooling][-1].T, look, marker=look.marker, markersize=3)
    ax.axhline(50, color="0.6", linestyle=":", linewidth=0.8)
    ax.set_xticks(100 * _ratios(run))
    ax.set_ylim(0, 103)
    ax.set(xlabel="distractors, % of places", ylabel="test accuracy, %")


def epochs_panel(ax, run) -> None:
    """Accuracy over epochs at the largest share of distractors."""
    place = int(np.argmax(_ratios(run)))
    for pooling, look in LOOKS.items():
        values = 100 * run.curves[pooling][:, :, place]
        style.curve(ax, run.curves["step"], values, look, marker=look.marker, markersize=3, count=False)
    ax.axhline(50, color="0.6", linestyle=":", linewidth=0.8)
    ax.set_xticks(run.curves["step"])
    ax.set_ylim(0, 103)
    ax.set(xlabel="epoch", ylabel="test accuracy, %", title=f"{100 * _ratios(run)[place]:g} % distractors")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    ratio_panel(axes[0, 0], run)
    epochs_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("distractors"))
