"""Drawings of a network's training on molecules."""

from experiments.lib import style

__all__ = ["loss_panel", "metric_panel", "quick_look"]

_METRICS = {"roc_auc": "area under the ROC curve", "average_precision": "average precision"}


def _panel(ax, run, parts: dict[str, tuple[str, str]]) -> None:
    """Curves by metric, each with its label and color, against the step."""
    for metric, (label, color) in parts.items():
        style.curve(ax, run.curves["step"], run.curves[metric], style.Look(label, style.PALETTE[color]))
    ax.set_xlabel("optimiser steps")


def loss_panel(ax, run) -> None:
    """Cross entropy of a label against the step."""
    _panel(ax, run, {"loss": ("training", "grey"), "validation/loss": ("validation", "blue")})
    ax.set_ylabel("loss, nats")


def metric_panel(ax, run) -> None:
    """The metric of both held-out splits against the step."""
    metric = run.config["problem"]["metric"]
    parts = {f"validation/{metric}": ("validation", "blue"), f"validation/test_{metric}": ("test", "orange")}
    _panel(ax, run, parts)
    ax.set_ylabel(_METRICS[metric])


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    loss_panel(axes[0, 0], run)
    metric_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("molecules"))
