"""Drawings of the robust models: residual against epochs, and epochs to an accuracy beside what was expected."""

import numpy as np

from experiments.halpern import panels_looks as looks
from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["advantage", "at", "epochs_panel", "epochs_to", "gap", "quick_look", "race_panel", "saddle"]

NAMES = {"breast_cancer": "breast cancer, n = 569", "digits": "digits, n = 1,797"}


def saddle(run) -> Measured:
    """The saddle value of the unshifted data by the independent solver."""
    return without_interval(run.results["unshifted"])


def gap(run) -> Measured:
    """The largest distance of the saddle function at our last points from the saddle value."""
    return without_interval(np.max(np.abs(run.results["value"] - run.results["saddle"])))


def at(run, name: str, epochs: float) -> Measured:
    """Natural residual of a method at one of the budgets."""
    return measured(run.curves[f"residual/{name}"][run.config.problem.epochs.index(epochs), :, 0])


def advantage(run, name: str = "vr_forb", over: str = "eg") -> Measured:
    """Natural residual of one method over another's, at the end of the budget."""
    ours, theirs = (run.curves[f"residual/{method}"][-1, :, 0] for method in (name, over))
    return measured(ours / theirs)


def epochs_to(run, name: str) -> Measured | None:
    """Epochs to the accuracy asked for, interpolated in the logarithm of the residual; None where it is not reached."""
    spent, residual = (run.curves[f"{metric}/{name}"][..., 0] for metric in ("epochs", "residual"))
    target = run.config.problem.accuracy
    found = []
    for x, y in zip(spent.T, residual.T, strict=True):
        after = int(np.argmax(y <= target))
        if y[after] > target:
            return None
        before = max(after - 1, 0)
        share = np.log(y[before] / target) / np.log(y[before] / y[after]) if after else 1.0
        found.append(x[before] + share * (x[after] - x[before]))
    return measured(found)


def race_panel(ax, run) -> None:
    """All methods of a run."""
    looks.race(ax, run, run.config.algo.methods)
    ax.axhline(run.config.problem.accuracy, color="0.6", linestyle=":", linewidth=0.8)
    ax.set_ylabel("natural residual")
    ax.set_title(NAMES[run.config.problem.source])


def epochs_panel(ax, runs) -> None:
    """Epochs to the accuracy: measured where it was reached, and expected by `recommend` (open)."""
    expected, ticks, names, place = ("vr_forb", "forb"), [], [], 0.0
    for run in runs:
        ticks.append(place)
        names.append(NAMES[run.config.problem.source].split(",")[0] + ":")
        for name in dict.fromkeys((*run.config.algo.methods, *expected)):
            found = epochs_to(run, name) if name in run.config.algo.methods else None
            if found is None and name not in expected:
                continue
            place += 1
            look = looks.METHODS[name]
            if found is not None:
                ax.plot([found.value], [place], marker=look.marker, color=look.color, linestyle="")
            if name in expected:
                predicted = run.results["predicted"][expected.index(name)]
                ax.plot([predicted], [place], marker=look.marker, markerfacecolor="none", color=look.color, ls="")
            ticks.append(place)
            names.append(look.label.split(",")[0])
        place += 1.5
    ax.set_yticks(ticks, names, fontsize=5)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(10, 1e4)
    ax.set_xlabel(f"epochs to residual {runs[0].config.problem.accuracy:g}")
    ax.set_title("measured, expected (open)", fontsize=7)


def quick_look(run) -> None:
    """The race, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    race_panel(ax, run)
    ax.legend(fontsize=5)
    style.save(style.stamp(fig, [run]), run.figure("robust"))
