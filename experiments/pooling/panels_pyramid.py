"""Drawings of accuracies by the size of test pictures."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured
from experiments.pooling.pyramid import read

__all__ = ["accuracy", "least", "margin", "quick_look", "size_panel"]

_COLORS = {"pyramid": style.PALETTE["vermilion"], "mean": style.PALETTE["blue"]}


def _sizes(run) -> list[int]:
    return list(run.config.problem.sizes)


def accuracy(run, row: str) -> np.ndarray:
    """`[size, R]` in per cent, after the last epoch."""
    at = run.axes["row"].index(row)
    return np.stack([100 * run.curves[f"accuracy/{size}"][-1][:, at] for size in _sizes(run)])


def least(run, row: str, smallest: int) -> Measured:
    """The lowest accuracy over sizes of at least `smallest` pixels, by seed."""
    return measured(accuracy(run, row)[np.array(_sizes(run)) >= smallest].min(axis=0))


def margin(run, one: str, other: str, smallest: int) -> Measured:
    """Points by which the first row is ahead of the second, at the size of at least `smallest` where that is least."""
    ahead = accuracy(run, one) - accuracy(run, other)
    return measured(ahead[np.array(_sizes(run)) >= smallest].min(axis=0))


def size_panel(ax, run) -> None:
    """Accuracy against the size, a line per row, with the training sizes marked."""
    for number, row in enumerate(run.axes["row"]):
        head, trained = read(row)
        look = style.Look(row, _COLORS[head], ("-", "--")[len(trained) - 1], "os^v"[number])
        label = f"{head}, trained on {' and '.join(map(str, trained))}"
        found = accuracy(run, row)
        style.curve(ax, _sizes(run), found, look, label=label, count=False)
        at = [_sizes(run).index(size) for size in trained]
        ax.scatter(trained, found[at].mean(axis=1), color=look.color, marker=look.marker, s=18, label="_trained")
    ax.set_xticks(_sizes(run))
    ax.set(xlabel="size of the test pictures, pixels", ylabel="accuracy, %", ylim=(0, 102))


def quick_look(run) -> None:
    """Into the run directory."""
    fig, ax = style.figure("column", 0.8)
    size_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("pyramid"))
