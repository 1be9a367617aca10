"""Drawings of components in strata and over devices."""

import numpy as np

from experiments.halpern import panels_looks as looks
from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["devices_panel", "farthest", "quick_look", "sent", "strata_panel", "stratified"]

_LOOKS = ("grey", "blue", "vermilion", "green", "purple")


def stratified(run) -> Measured:
    """Residual at the end with most strata over that with one, seed by seed."""
    last = run.curves["residual"][-1]
    return measured(last[:, -1] / last[:, 0])


def farthest(run) -> Measured:
    """The largest relative distance of any point on several devices from that on one."""
    return without_interval(np.max(run.results["distance"]), run.results["distance"].size)


def sent(run) -> Measured:
    """Numbers added up between devices in an iteration, over the length of a point; the most on several devices."""
    several = np.asarray(run.results["devices"]) > 1
    most = np.max(np.asarray(run.results["floats"])[several]) / run.config.problem.columns
    return without_interval(most, int(several.sum()))


def strata_panel(ax, run) -> None:
    """Residual against epochs for every number of strata."""
    for at, name in enumerate(run.axes["stratum"]):
        look = style.Look("one stratum" if name == "1" else f"{name} strata", style.PALETTE[_LOOKS[at]], "-", "o")
        epochs = run.curves["epochs"][..., at].mean(axis=1)
        looks.log_curve(ax, epochs, run.curves["residual"][..., at], look, linewidth=1.1)
    ax.set_yscale("log")
    looks.epoch_axis(ax)
    ax.set_ylabel("|F(u)|")
    ax.legend(fontsize=6)


def devices_panel(ax, run) -> None:
    """Relative distance from the points of one device, stride by stride."""
    iterations = run.config.run.stride * np.arange(1, run.results["distance"].shape[1] + 1)
    for at, count in enumerate(run.results["devices"]):
        if count > 1:
            distance = np.maximum(run.results["distance"][at], 1e-9)
            label = f"{count} devices, {run.results['rows'][at]:,} rows each"
            ax.plot(iterations, distance, color=style.PALETTE[_LOOKS[at]], label=label, linewidth=1.1)
    style.reference(ax, iterations[[0, -1]], np.full(2, np.finfo(np.float32).eps), "one rounding of float32")
    ax.set_yscale("log")
    ax.set_xlabel("iterations")
    ax.set_ylabel("distance from one device, relative")
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.4, 1, 2)
    strata_panel(axes[0, 0], run)
    devices_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("sharding"))
