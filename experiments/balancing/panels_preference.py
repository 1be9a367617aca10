"""Drawings of switches: between what kinds of experts, and by the difference of their loads."""

import numpy as np

from experiments.balancing import panels_rules
from experiments.balancing.preference import STATES
from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = ["difference_panel", "matrix_panel", "quick_look", "total", "violations"]


def _sum(run, name: str) -> np.ndarray:
    """Over all updates and instances, `[row]`."""
    return run.curves[name].sum(axis=(0, 1))


def violations(run, kind: str) -> Measured:
    """Switches against the preference of one rule, all schedules."""
    at = [place for place, _ in panels_rules.places(run, kind)]
    return without_interval(_sum(run, "violations")[at].sum(), run.config.run.replicates)


def total(run, kind: str) -> int:
    """Switches of one rule, all schedules."""
    at = [place for place, _ in panels_rules.places(run, kind)]
    return int(sum(_sum(run, f"{one}-{other}")[at].sum() for one in STATES for other in STATES))


def matrix_panel(ax, run, kind: str) -> None:
    """Switches from experts of one kind (rows) to those of another (columns)."""
    at = [place for place, _ in panels_rules.places(run, kind)]
    counts = np.array([[_sum(run, f"{one}-{other}")[at].sum() for other in STATES] for one in STATES])
    ax.imshow(np.log1p(counts), cmap="Blues", vmin=0)
    light = np.log1p(counts) > 0.6 * np.log1p(counts).max()
    for i in range(3):
        for j in range(3):
            ax.text(
                j, i, f"{counts[i, j]:,.0f}", ha="center", va="center", fontsize=7, color="w" if light[i, j] else "k"
            )
    names = ("over", "exactly L", "under")
    ax.set_xticks(range(3), names, fontsize=7)
    ax.set_yticks(range(3), names, fontsize=7, rotation=90, va="center")
    ax.grid(visible=False)
    ax.set(
        xlabel="picked expert", ylabel="dropped expert", title=f"{'sign' if kind == 'sign' else 'proportional'} rule"
    )


def difference_panel(ax, run) -> None:
    """Share of the switches by load of the dropped less load of the picked expert, over the rows of each rule."""
    x = np.array([int(label) for label in run.axes["difference"]])
    for kind, color in (("sign", "vermilion"), ("prop", "blue")):
        found = sum(_sum(run, f"difference/{row}") for _, row in panels_rules.places(run, kind))
        label = "sign" if kind == "sign" else "proportional"
        ax.step(x, found / found.sum(), where="mid", color=style.PALETTE[color], label=label, linewidth=1)
    ax.axvline(0, color="k", linewidth=0.5)
    ax.set(yscale="log", xlabel="$A_j − A_k$, tokens", ylabel="share of switches j → k")


def quick_look(run) -> None:
    """Both matrices, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2)
    for ax, kind in zip(axes[0], ("sign", "prop"), strict=True):
        matrix_panel(ax, run, kind)
    style.save(style.stamp(fig, [run]), run.figure("preference"))
