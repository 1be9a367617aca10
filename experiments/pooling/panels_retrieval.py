"""Drawings of a retrieval network's training."""

from experiments.lib import style

__all__ = ["loss_panel", "quick_look", "score_panel"]

_SCORES = {
    "recall_1": ("recall at 1", "blue"), "recall_2": ("at 2", "sky"), "recall_4": ("at 4", "green"),
    "recall_8": ("at 8", "orange"), "map_r": ("MAP@R", "grey"),
}  # fmt: skip


def loss_panel(ax, run) -> None:
    """Training loss against the step."""
    style.curve(ax, run.curves["step"], run.curves["loss"], style.Look("training", style.PALETTE["grey"]))
    ax.set_xlabel("optimiser steps")
    ax.set_ylabel("loss, nats")


def score_panel(ax, run) -> None:
    """Every score on classes that training has not seen, against the step."""
    for name, (label, color) in _SCORES.items():
        look = style.Look(label, style.PALETTE[color])
        style.curve(ax, run.curves["step"], 100 * run.curves[f"validation/{name}"], look)
    ax.set_xlabel("optimiser steps")
    ax.set_ylabel("unseen classes, %")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    loss_panel(axes[0, 0], run)
    score_panel(axes[0, 1], run)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("retrieval"))
