"""Drawings of poolings of frozen states: what is told right, and losses, over training."""

from experiments.lib import style
from experiments.pooling import panels_distractors

__all__ = ["correct_panel", "loss_panel", "quick_look"]

LOOKS = panels_distractors.LOOKS | {
    "last": style.Look("last token", style.PALETTE["green"], (0, (3, 1)), "^"),
    "position_weighted": style.Look("weighted by position", style.PALETTE["vermilion"], (0, (4, 1, 1, 1)), "P"),
}


def _panel(ax, run, metric: str, factor: float) -> None:
    for pooling, look in LOOKS.items():
        if f"{metric}/{pooling}" in run.curves:
            style.curve(ax, run.curves["step"], factor * run.curves[f"{metric}/{pooling}"], look, count=False)
    ax.set_xlabel("optimiser steps")


def correct_panel(ax, run) -> None:
    """Validation sequences told right against the step."""
    _panel(ax, run, "validation/correct", 100.0)
    ax.set_ylabel("told right, %")


def loss_panel(ax, run) -> None:
    """Training cross entropy against the step."""
    _panel(ax, run, "loss", 1.0)
    ax.set_ylabel("training loss, nats")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    loss_panel(axes[0, 0], run)
    correct_panel(axes[0, 1], run)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("frozen_states"))
