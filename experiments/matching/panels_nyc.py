"""Drawings of the New York experiment: shares against load, and where trips begin."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.matching import panels_looks as looks
from experiments.matching import panels_ratio

__all__ = ["largest_gap", "least_share", "load_panel", "map_panel", "mean_share", "quick_look"]


def least_share(run) -> Measured:
    """The least share of LP-OnOpt that the rescaled rounding gets, over loads and draws of drivers."""
    return panels_ratio.least_share(run)


def largest_gap(run) -> Measured:
    """The largest certified gap of LP-OnOpt."""
    gaps = (run.curves["dual"] - run.curves["primal"]) / run.curves["dual"]
    return without_interval(gaps.max(), gaps.size)


def mean_share(run, name: str, load: float) -> Measured:
    """Mean share of LP-OnOpt (certified upper bound) of a contender at one load."""
    place = list(run.config.problem.loads).index(load)
    return measured(panels_ratio.shares(run, name, "lp")[place])


def load_panel(ax, run) -> None:
    """Share of LP-OnOpt against the load, mean and interval over draws of the drivers."""
    loads = np.asarray(run.config.problem.loads)
    names = [*panels_ratio.contenders(run), *(["philosopher"] if "value/philosopher" in run.curves else [])]
    for name in names:
        look = looks.ALGORITHMS[name]
        style.curve(ax, loads, panels_ratio.shares(run, name, "lp"), look, count=False, linewidth=1.1)
    for key in ("pivotal", "bins", "independent"):
        looks.guarantee_line(ax, key, side="right")
    ax.set_ylim(0.6, 1.005)
    ax.set_xlim(loads.min(), loads.max())
    ax.set_xticks(loads, [f"{load:g}" for load in loads])
    ax.set_xlabel("load, riders per driver")
    setting = run.config.problem
    how = "exact" if "value/philosopher" in run.curves else f"{run.config.run.runs} runs each"
    ax.set_title(f"{setting.drivers} drivers, T = {setting.steps} ({how}, n = {run.config.run.replicates})")


def map_panel(ax, run) -> None:
    """Zones where they are, discs as large as their share of the morning's trips."""
    place, pickups = run.results["position"], run.results["pickups"]
    origin = place.min(axis=0)
    east, north = (place - origin).T
    ax.scatter(
        east, north, s=260 * pickups / pickups.max(), color=style.PALETTE["blue"], alpha=0.55, linewidths=0.3,
        edgecolors="white",
    )  # fmt: skip
    ax.set_aspect("equal")
    ax.set_xlabel("km east")
    ax.set_ylabel("km north")
    hours = [run.config.problem.first_quarter / 4, (run.config.problem.first_quarter + run.config.problem.quarters) / 4]
    ax.set_title(f"trips begin, {hours[0]:g} to {hours[1]:g} h")


def quick_look(run) -> None:
    """Shares and map, into the run directory."""
    fig, axes = style.figure("text", 0.5, 1, 2, width_ratios=(1.6, 1))
    load_panel(axes[0, 0], run)
    looks.ratio_axis(axes[0, 0], "LP-OnOpt")
    map_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("nyc"))
