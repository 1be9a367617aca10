"""Drawings of captions told from several numbers of visual tokens."""

from collections.abc import Sequence

import numpy as np

from experiments.lib import style

__all__ = ["budget_panel", "quick_look", "share_panel"]

_COLORS = ("grey", "sky", "blue", "green", "orange", "vermilion", "purple", "black")
_PREFIX = "validation/correct/"


def _budgets(run) -> list[int]:
    """Numbers of visual tokens that a run has been validated at, ascending."""
    return sorted(int(name.removeprefix(_PREFIX)) for name in run.curves if name.startswith(_PREFIX))


def share_panel(ax, run) -> None:
    """Validation tokens told right against the step, a curve for each budget; dashed where it was not trained on."""
    for place, budget in enumerate(_budgets(run)):
        line = "-" if budget in run.config["algo"]["budgets"] else "--"
        look = style.Look(f"{budget} tokens", style.PALETTE[_COLORS[place % len(_COLORS)]], line)
        style.curve(ax, run.curves["step"], 100 * run.curves[f"{_PREFIX}{budget}"], look)
    ax.set_xlabel("optimiser steps")
    ax.set_ylabel("told right, %")


def budget_panel(ax, runs: Sequence) -> None:
    """Validation tokens told right at the end against the budget: a curve for each run, by what it was trained on."""
    for place, run in enumerate(runs):
        budgets, trained = _budgets(run), run.config["algo"]["budgets"]
        told = np.stack([100 * run.curves[f"{_PREFIX}{budget}"][-1] for budget in budgets])
        label = "trained on " + ", ".join(str(budget) for budget in trained)
        look = style.Look(label, style.PALETTE[_COLORS[(2 + place) % len(_COLORS)]])
        style.curve(ax, budgets, told, look, marker="o", markersize=3)
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, sorted({budget for run in runs for budget in _budgets(run)}))
    ax.set_xlabel("visual tokens")
    ax.set_ylabel("told right, %")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    share_panel(axes[0, 0], run)
    budget_panel(axes[0, 1], [run])
    for ax in axes[0]:
        ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("budgets"))
