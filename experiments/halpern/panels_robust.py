"""Drawings of the robust models: residual against epochs, and epochs to an accuracy beside what was expected."""

import numpy as np

from experiments.halpern import panels_looks as looks
from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["advantage", "epochs_panel", "epochs_to", "gap", "quick_look", "race_panel", "saddle"]

NAMES = {"breast_cancer": "breast cancer, n = 569", "digits": "digits, n = 1,797"}


def saddle(run) -> Measured:
    """The saddle value of the unshifted data by the independent solver."""
    return Measured(float(run.results["unshifted"]), -np.inf, np.inf, 1)


def gap(run) -> Measured:
    """The largest distance of the saddle function at our last points from the saddle value."""
    return Measured(float(np.max(np.abs(run.results["value"] - run.results["saddle"]))), -np.inf, np.inf, 1)


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
    """Epochs to the accuracy: measured as points, expected by `recommend` as open marks; none where not reached."""
    place, names = 0, []
    expected = dict(zip(("vr_forb", "forb"), (0, 1), strict=True))
    for run in runs:
        for name in run.config.algo.methods:
            look, found = looks.METHODS[name], epochs_to(run, name)
            if found is not None:
                ax.plot([found.value], [place], marker=look.marker, color=look.color, linestyle="")
            if name in expected:
                ax.plot(
                    [run.results["predicted"][expected[name]]], [place], marker=look.marker, markerfacecolor="none",
                    color=look.color, linestyle="",
                )  # fmt: skip
            names.append(look.label if found is not None else f"{look.label} (not in {run.config.problem.epochs[-1]})")
            place += 1
        place += 0.7
        names.append(None)
    ticks = [k + 0.7 * names[:k].count(None) - names[:k].count(None) for k, name in enumerate(names) if name]
    ax.set_yticks(ticks, [name for name in names if name], fontsize=5)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlabel(f"epochs to residual {runs[0].config.problem.accuracy:g}")
    ax.set_title("measured, and expected (open)")


def quick_look(run) -> None:
    """The race, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    race_panel(ax, run)
    ax.legend(fontsize=5)
    style.save(style.stamp(fig, [run]), run.figure("robust"))
