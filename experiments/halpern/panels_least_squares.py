"""Drawings of class A: residual against epochs, and against iterations with its slope."""

import numpy as np

from experiments.halpern import panels_looks as looks
from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["at_end", "over", "over_bound", "quick_look", "race_panel", "slope", "slope_panel"]


def at_end(run, name: str) -> Measured:
    """Residual of a method once the budget is spent, over seeds."""
    return measured(run.curves[f"residual/{name}"][-1, :, 0])


def over(run, name: str, other: str) -> Measured:
    """Residual of one method over another's, once the budget is spent."""
    return measured(run.curves[f"residual/{name}"][-1, :, 0] / run.curves[f"residual/{other}"][-1, :, 0])


def over_bound(run) -> Measured:
    """The largest root mean square of the certified residual over its bound, at the iterations that were made."""
    residual = run.curves["residual/page_half"][..., 0]
    limit = _bound_at(run)
    return without_interval(np.max(np.sqrt(np.mean(residual**2, axis=1)) / limit), residual.shape[1])


def _bound_at(run) -> np.ndarray:
    spent = run.curves["epochs/page_half"][..., 0].mean(axis=1)
    return np.exp(np.interp(spent, run.results["bound_epochs"], np.log(run.results["bound"])))


def _iterations(run) -> np.ndarray:
    return run.curves["strides/page_half"][..., 0] * run.config.run.stride


def slope(run) -> Measured:
    """Of log residual against log iterations, Algorithm 1 at its certified step, a line for each seed."""
    k, residual = _iterations(run), run.curves["residual/page_half"][..., 0]
    late = slice(len(k) // 2, None)
    slopes = [np.polyfit(np.log(x), np.log(y), 1)[0] for x, y in zip(k[late].T, residual[late].T, strict=True)]
    return measured(slopes)


def race_panel(ax, run) -> None:
    """All methods of a run, with the bound where there is one."""
    looks.race(ax, run, run.config.algo.methods)
    if "bound" in run.results:
        style.reference(ax, run.results["bound_epochs"], run.results["bound"], "bound of Algorithm 1 at 0.5/L")
    ax.set_ylabel("natural residual")
    what = "logistic, digits" if run.config.problem.source == "digits" else "least squares"
    n = 1797 if run.config.problem.source == "digits" else run.config.problem.size
    ax.set_title(f"{what}, n = {n:,}")


def slope_panel(ax, run) -> None:
    """Residual of Algorithm 1 under box constraints against iterations."""
    k = _iterations(run).mean(axis=1)
    residual = run.curves["residual/page_half"][..., 0]
    found = slope(run)
    looks.log_curve(
        ax, k, residual, looks.METHODS["page_half"], label=f"slope −{abs(found.value):.2f}", marker="o", markersize=3
    )
    middle = len(k) // 2
    style.reference(ax, k, residual.mean(axis=1)[middle] * k[middle] / k, "slope −1")
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis, (low, high) in ((ax.xaxis, (k[0], k[-1])), (ax.yaxis, (residual.min(), residual.max()))):
        ticks = np.outer(10.0 ** np.arange(-6, 7), (1, 2, 5)).ravel()
        style.plain_ticks(axis, ticks[(ticks >= low) & (ticks <= high)])
    ax.set_xlabel("iterations")
    ax.set_title(f"box constraints, n = {run.config.problem.size:,}")


def quick_look(run) -> None:
    """The run's own panel, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    (slope_panel if run.config.problem.box else race_panel)(ax, run)
    ax.legend(fontsize=5)
    style.save(style.stamp(fig, [run]), run.figure("least_squares"))
