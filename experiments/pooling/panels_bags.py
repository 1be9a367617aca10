"""Drawings of bags' AUC, by pooling and by averaging weight."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["course_panel", "difference", "last", "quick_look", "weight_panel"]

_COLORS = ("blue", "vermilion", "orange", "green", "purple")
_STYLES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 1, 1, 1)))


def last(run, label: str) -> np.ndarray:
    """Test AUC after all steps, `[R]`."""
    return run.curves["auc"][-1, :, run.axes["row"].index(label)]


def difference(run, better: str, worse: str) -> Measured:
    """Of two rows after all steps, replicate by replicate."""
    return measured(last(run, better) - last(run, worse))


def course_panel(ax, run, pooling: str) -> None:
    """Test AUC against steps; full bags black."""
    ways = [label.partition(", ")[2] for label in run.axes["row"] if label.startswith(pooling)]
    looks = [style.Look("full bags", style.PALETTE["black"])] + [
        style.Look(way, style.PALETTE[color], line)
        for way, color, line in zip(ways[1:], _COLORS, _STYLES, strict=False)
    ]
    for way, how in zip(ways, looks, strict=True):
        values = run.curves["auc"][..., run.axes["row"].index(f"{pooling}, {way}")]
        style.curve(ax, run.curves["step"], values, how)
    ax.set_xlabel("steps")
    ax.set_ylabel("test AUC")
    ax.set_ylim(0.4, 1)
    ax.set_title(pooling)


def weight_panel(ax, run) -> None:
    """Test AUC after all steps against the averaging weight, with intervals; full bags dashed."""
    weights = np.array(run.config.algo.averagings)
    for pooling, color, marker in (("smoothed maximum", "blue", "o"), ("attention", "vermilion", "s")):
        found = [measured(last(run, f"{pooling}, γ = {weight:g}")) for weight in weights]
        middle = np.array([one.value for one in found])
        spread = np.array([(one.value - one.low, one.high - one.value) for one in found]).T
        spread = np.where(np.isfinite(spread), spread, 0)
        ax.errorbar(weights, middle, yerr=spread, color=style.PALETTE[color], marker=marker, markersize=4,
                    elinewidth=0.8, label=f"{pooling} (n = {found[0].n})")  # fmt: skip
        full = last(run, f"{pooling}, full bags").mean()
        ax.plot([weights.min(), 1], [full, full], color=style.PALETTE[color], linestyle="--", linewidth=0.8,
                label="_full bags")  # fmt: skip
    ax.set_xlabel("averaging weight, γ")
    ax.set_ylabel("test AUC after all steps")


def quick_look(run) -> None:
    """AUC of the smoothed maximum, into the run directory."""
    fig, ax = style.figure("column", 0.75)
    course_panel(ax, run, "smoothed maximum")
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("bags"))
