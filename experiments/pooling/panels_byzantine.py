"""Drawings of aggregates under attack."""

import numpy as np
from matplotlib.ticker import NullFormatter

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.pooling.byzantine import AGGREGATORS, ATTACKS

__all__ = ["ATTACKS", "at_most", "attack_panel", "bound_share", "least_damage", "quick_look", "range_share", "row"]

_LOOKS = {
    "mean": style.Look("mean", style.PALETTE["grey"], "-", "_"),
    "median": style.Look("median", style.PALETTE["blue"], (0, (5, 1)), "s"),
    "trimmed mean": style.Look("trimmed mean", style.PALETTE["green"], (0, (3, 1, 1, 1)), "^"),
    "geometric median": style.Look("geometric median", style.PALETTE["vermilion"], "-", "o"),
    "flag": style.Look("flag, r = {rank}", style.PALETTE["purple"], "-", "D"),
}


def row(run, metric: str, aggregator: str, attack: str) -> np.ndarray:
    """`[f, R]`."""
    return run.curves[metric][..., run.axes["row"].index(f"{aggregator}, {attack}")]


def at_most(run, metric: str, aggregator: str, most: int, attacks=ATTACKS) -> Measured:
    """Largest mean over trials, over attacks and f up to `most`."""
    found = [measured(one) for attack in attacks for one in row(run, metric, aggregator, attack)[: most + 1]]
    return max(found, key=lambda one: one.value)


def least_damage(run, aggregator: str) -> Measured:
    """Smallest mean error over attacks and f from 3 on."""
    found = [measured(one) for attack in ATTACKS for one in row(run, "error", aggregator, attack)[3:]]
    return min(found, key=lambda one: one.value)


def bound_share(run) -> Measured:
    """Largest error of the geometric median over its limit, over attacks, f and trials."""
    share = [row(run, "error", "geometric median", attack) / run.results["allowed"] for attack in ATTACKS]
    return without_interval(np.max(share), run.config.run.replicates)


def range_share(run) -> Measured:
    """Largest error of the median and of the trimmed mean over their limit."""
    share = [
        row(run, "error", aggregator, attack) / run.results["range"]
        for aggregator in ("median", "trimmed mean")
        for attack in ATTACKS
    ]
    return without_interval(np.max(share), run.config.run.replicates)


def attack_panel(ax, run, attack: str, metric: str = "error") -> None:
    """Means over trials with intervals against f; the geometric median's limit dashed."""
    bad = run.curves["step"] - 1
    for aggregator in AGGREGATORS if metric == "misaligned" else AGGREGATORS[:-1]:
        how = _LOOKS[aggregator]
        style.curve(
            ax, bad, row(run, metric, aggregator, attack), how, label=how.label.format(rank=run.config.algo.rank)
        )
    if metric == "error":
        style.reference(ax, bad, run.results["allowed"].mean(axis=1), "limit of geometric median")
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_title(attack)
    ax.set_xlabel(f"bad workers of {run.config.problem.workers}, f")
    ax.set_ylabel("distance from the truth" if metric == "error" else "1 − cosine with the truth")


def quick_look(run) -> None:
    """Errors under random vectors, into the run directory."""
    fig, ax = style.figure("column", 0.75)
    attack_panel(ax, run, "random")
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("byzantine"))
