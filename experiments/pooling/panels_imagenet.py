"""Drawings of a classifier's training."""

from experiments.lib import style

__all__ = ["loss_panel", "quick_look", "share_panel"]

_PARTS = {"": ("training", "grey"), "validation/": ("validation", "blue")}


def _panel(ax, run, metric: str, factor: float) -> None:
    for prefix, (label, color) in _PARTS.items():
        look = style.Look(label, style.PALETTE[color])
        style.curve(ax, run.curves["step"], factor * run.curves[f"{prefix}{metric}"], look)
    ax.set_xlabel("optimiser steps")


def loss_panel(ax, run) -> None:
    """Cross entropy against the step."""
    _panel(ax, run, "loss", 1.0)
    ax.set_ylabel("loss, nats")


def share_panel(ax, run) -> None:
    """Pictures told right against the step."""
    _panel(ax, run, "correct", 100.0)
    ax.set_ylabel("told right, %")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    loss_panel(axes[0, 0], run)
    share_panel(axes[0, 1], run)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("imagenet"))
