"""Drawings of ratios: by family of instances, and against the number of nodes and of arrivals."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.matching import panels_looks as looks

__all__ = [
    "FAMILIES", "by_family", "claims_of", "contenders", "growth", "least_share", "least_slack", "quick_look", "shares",
]  # fmt: skip

#: Families as the figure names them.
FAMILIES = {
    "er": "ER {:g}", "ba": "BA {:g}", "geom": "geom. {:g}", "vertex": "vertex w.",
}  # fmt: skip

#: Contenders in the order in which a group of boxes shows them.
SHOWN = ("closed_form", "unscaled", "keep", "half", "fgl", "greedy", "bid_price")


def contenders(run) -> list[str]:
    """Those of `SHOWN` that the run has."""
    return [name for name in SHOWN if f"value/{name}" in run.curves or f"value/{name}" in run.results]


def value(run, name: str) -> np.ndarray:
    """A contender's value, `[cases, R]`."""
    key = f"value/{name}"
    return np.asarray(run.curves[key] if key in run.curves else run.results[key], np.float64)


def shares(run, name: str, benchmark: str) -> np.ndarray:
    """Value over "philosopher", or over "lp": the certified upper bound on LP-OnOpt; `[cases, R]`."""
    below = value(run, "philosopher") if benchmark == "philosopher" else run.curves["dual"].astype(np.float64)
    found = below if name == "lp" else value(run, name)
    return found / (value(run, "philosopher") if benchmark == "philosopher" else below)


def labels(run) -> list[str]:
    """Families of the run's cases."""
    return [FAMILIES[name].format(parameter) for name, parameter, *_ in run.config.problem.cases]


def least_share(run) -> Measured:
    """The least share of LP-OnOpt that the rescaled rounding gets, over all instances."""
    found = shares(run, "closed_form", "lp")
    return without_interval(found.min(), found.size)


def least_slack(run) -> Measured:
    """The least of dual - philosopher and philosopher - contender, over everything, relative to the LP."""
    dual, best = run.curves["dual"], value(run, "philosopher")
    gaps = [dual - best, *(best - value(run, name) for name in contenders(run))]
    return without_interval(min((gap / dual).min() for gap in gaps), best.size)


def claims_of(run, name: str) -> dict[str, Measured]:
    """Mean share of the philosopher's value of every family, by the families' labels."""
    below = run.curves["primal"] / value(run, "philosopher") if name == "lp" else shares(run, name, "philosopher")
    return {label: measured(row) for label, row in zip(labels(run), below, strict=True)}


def by_family(ax, run, benchmark: str) -> None:
    """A group of boxes for every family: quartiles, whiskers to the extremes."""
    names, groups = contenders(run), labels(run)
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        look = looks.ALGORITHMS[name]
        place = np.arange(len(groups)) + (k - (len(names) - 1) / 2) * width
        found = shares(run, name, benchmark)
        low, first, middle, third, high = np.quantile(found, (0, 0.25, 0.5, 0.75, 1), axis=1)
        ax.vlines(place, low, high, color=look.color, linewidth=0.7)
        ax.bar(place, third - first, width * 0.8, bottom=first, color=look.color, label=look.label, linewidth=0)
        ax.scatter(place, middle, s=4, color="white", edgecolors="0.2", linewidths=0.4, zorder=3, label="_nolegend_")
    for edge in np.arange(len(groups) - 1) + 0.5:
        ax.axvline(edge, color="0.9", linewidth=0.6, zorder=0)
    ax.set_xticks(np.arange(len(groups)), groups)
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    for key in ("pivotal", "bins", "independent", "half"):
        looks.guarantee_line(ax, key)
    looks.ratio_axis(ax, "philosopher" if benchmark == "philosopher" else "LP-OnOpt")


def growth(ax, run, axis: str, benchmark: str = "lp") -> None:
    """Share against the number of nodes (axis "nodes", two arrivals each) or of arrivals (axis "arrivals")."""
    cases = run.config.problem.cases
    nodes, steps = np.array([case[2] for case in cases]), np.array([case[3] for case in cases])
    chosen = steps == 2 * nodes if axis == "nodes" else nodes == 6
    at = (nodes if axis == "nodes" else steps)[chosen]
    order = np.argsort(at)
    for name in (*contenders(run), "philosopher"):
        found = shares(run, name, benchmark)[chosen][order]
        style.curve(ax, at[order], found, looks.ALGORITHMS[name], count=False, linewidth=1.1)
    for key in ("pivotal", "bins", "independent", "half"):
        looks.guarantee_line(ax, key, side="right")
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, at)
    ax.set_xlim(at.min(), at.max())
    ax.set_xlabel("offline nodes n, T = 2n arrivals" if axis == "nodes" else "arrivals T, n = 6 nodes")


def quick_look(run) -> None:
    """Boxes by family, or two panels of growth, into the run directory."""
    if len({case[3] for case in run.config.problem.cases}) == 1:
        fig, ax = style.figure("text", 0.45)
        by_family(ax, run, "philosopher" if "value/philosopher" in run.curves else "lp")
        ax.legend(fontsize=6, ncols=4)
    else:
        fig, axes = style.figure("text", 0.45, 1, 2)
        for ax, axis in zip(axes[0], ("nodes", "arrivals"), strict=True):
            growth(ax, run, axis)
    style.save(style.stamp(fig, [run]), run.figure("ratio"))
