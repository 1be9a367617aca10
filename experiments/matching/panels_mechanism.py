"""Drawings of the mechanism: welfare and revenue by family, welfare against rollouts, and prices along a run."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.matching import panels_looks as looks
from experiments.matching import panels_ratio

__all__ = ["families", "family_panel", "largest_gain", "least_gain", "least_share", "path_panel", "quick_look",
           "rollouts_panel", "share"]  # fmt: skip

_LOOKS = {
    "welfare": style.Look("posted prices, exact", style.PALETTE["green"], "-", "o"),
    "rollouts": style.Look("posted prices, rollouts", style.PALETTE["orange"], "-", "^"),
    "rounding": looks.ALGORITHMS["closed_form"]._replace(label="rounding that prices"),
    "revenue": style.Look("revenue, exact prices", style.PALETTE["purple"], "-", "D"),
}
_FAMILIES = panels_ratio.FAMILIES | {"hard": "hard"}


def families(run) -> list[str]:
    """Labels of the run's cases."""
    return [_FAMILIES[name].format(parameter) for name, parameter, *_ in run.config.problem.cases]


def share(run, metric: str) -> np.ndarray:
    """A metric over the philosopher's value, `[cases, R]`."""
    return run.curves[metric].astype(np.float64) / run.curves["philosopher"]


def least_share(run) -> Measured:
    """The least share of the philosopher's value that exact prices reach."""
    found = share(run, "welfare")
    return without_interval(found.min(), found.size)


def least_gain(run) -> Measured:
    """The least of (welfare with exact prices - the rounding's value) / LP-OnOpt: never negative."""
    found = (run.curves["welfare"] - run.curves["rounding"]) / run.curves["dual"]
    return without_interval(found.min(), found.size)


def largest_gain(run, kind: str) -> Measured:
    """The most that a misreport gained, "exact" or "rollouts"."""
    found = run.curves[f"gain/{kind}"]
    return without_interval(found.max(), found.size)


def family_panel(ax, run) -> None:
    """Shares of the philosopher's value by family, mean and interval."""
    groups, most = families(run), max(run.config.algo.rollouts)
    shown = {"rounding": "rounding", "welfare": "welfare", "rollouts": f"rollouts/{most}", "revenue": "revenue"}
    for k, (look, metric) in enumerate(shown.items()):
        found = [measured(row) for row in share(run, metric)]
        value = np.array([one.value for one in found])
        spread = [value - [one.low for one in found], [one.high for one in found] - value]
        label = f"{_LOOKS[look].label}{f', {most}' if look == 'rollouts' else ''} (n = {found[0].n})"
        ax.errorbar(
            np.arange(len(groups)) + 0.18 * (k - 1.5), value, yerr=np.maximum(spread, 0), color=_LOOKS[look].color,
            marker=_LOOKS[look].marker, linestyle="none", markersize=3.2, elinewidth=0.8, label=label,
        )  # fmt: skip
    for edge in np.arange(len(groups) - 1) + 0.5:
        ax.axvline(edge, color="0.9", linewidth=0.6, zorder=0)
    looks.guarantee_line(ax, "pivotal")
    ax.set_xticks(range(len(groups)), groups, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.grid(axis="x", visible=False)
    looks.ratio_axis(ax, "philosopher")


def rollouts_panel(ax, run) -> None:
    """Welfare against rollouts for each price, all families but the hard instance; with exact prices and without."""
    benign = np.array([case[0] != "hard" for case in run.config.problem.cases])
    counts = np.asarray(run.config.algo.rollouts)
    found = np.stack([share(run, f"rollouts/{count}")[benign].mean(axis=0) for count in counts])
    style.curve(ax, counts, found, _LOOKS["rollouts"], marker="^", markersize=3)
    for metric in ("welfare", "rounding"):
        level = share(run, metric)[benign].mean(axis=0)
        style.curve(ax, counts[[0, -1]], np.stack([level, level]), _LOOKS[metric], count=False, linewidth=1.0)
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, counts)
    ax.set_xlabel("rollouts for each price")


def path_panel(ax, run) -> None:
    """Exact prices of every node along a run; a disc where it is sold."""
    prices, sold = run.results["price"], run.results["sold"]
    colors = list(style.PALETTE.values())
    for node in range(prices.shape[1]):
        path = np.where(np.isfinite(prices[:, node]), prices[:, node], np.nan)
        color = colors[node % len(colors)]
        ax.step(np.arange(len(path)), path, where="mid", color=color, linewidth=1.0, label=f"node {node}")
        for time in np.flatnonzero(sold == node):
            ax.scatter([time], [path[time]], s=16, color=color, zorder=3, label="_nolegend_")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("time t")
    ax.set_ylabel("posted price (weight)")
    ax.set_title(f"one run, {families(run)[0]}")


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 3)
    family_panel(axes[0, 0], run)
    rollouts_panel(axes[0, 1], run)
    path_panel(axes[0, 2], run)
    style.save(style.stamp(fig, [run]), run.figure("mechanism"))
