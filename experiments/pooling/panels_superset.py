"""Drawings of what models of S alone, and of S and V, make of a target that depends on both."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["above_floor", "course_panel", "error", "quick_look", "ratio"]

_LOOKS = {
    "S alone": style.Look("S alone", style.PALETTE["vermilion"], "-", "o"),
    "S and V": style.Look("S and V", style.PALETTE["blue"], (0, (5, 1)), "s"),
}


def _final(run, model: str) -> np.ndarray:
    """Mean squared error after the last step, `[R]`."""
    return run.curves["error"][-1, :, run.axes["model"].index(model)].astype(np.float64)


def error(run, model: str) -> Measured:
    """Mean squared error after the last step."""
    return measured(_final(run, model))


def ratio(run) -> Measured:
    """Error from S and V over that from S alone."""
    return measured(_final(run, "S and V") / _final(run, "S alone"))


def above_floor(run) -> Measured:
    """Error from S alone over that of the best function of S on the same sets."""
    return measured(_final(run, "S alone") / run.results["best"])


def course_panel(ax, run) -> None:
    """Errors against steps; the target's variance and the floor of all functions of S, dashed."""
    steps = run.curves["step"]
    for at, model in enumerate(run.axes["model"]):
        style.curve(ax, steps, run.curves["error"][..., at], _LOOKS[model])
    style.reference(ax, steps[[0, -1]], [run.results["floor"].mean()] * 2, "floor of S alone (T12)")
    variance = [run.results["variance"].mean()] * 2
    ax.plot(steps[[0, -1]], variance, color=style.PALETTE["grey"], linestyle=":", label="variance of the target")
    top = max(variance[0], run.curves["error"][-1].max())
    ax.set(xlabel="steps", ylabel="mean squared error", ylim=(0, 1.25 * top))


def quick_look(run) -> None:
    """The panel, into the run directory."""
    fig, ax = style.figure("column", 0.75)
    course_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("superset"))
