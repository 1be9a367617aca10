"""Drawings of the break-even: measured ratios of calls over L / L_F, in units of the predicted break-even."""

import numpy as np

from experiments.halpern import break_even as question
from experiments.halpern import panels_looks as looks
from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["crossing", "panel", "quick_look", "ratio_at", "unreached", "won_where_predicted"]

_LOOKS = ((style.PALETTE["blue"], "o"), (style.PALETTE["vermilion"], "s"), (style.PALETTE["green"], "^"),
          (style.PALETTE["purple"], "D"), (style.PALETTE["orange"], "v"), (style.PALETTE["sky"], "P"),
          (style.PALETTE["black"], "X"))  # fmt: skip


def _measured(run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, L / L_F over its break-even, and calls FEG / Algorithm 2 `[cases, R]`; NaN where one did not arrive."""
    n, ratio = (np.asarray(column) for column in zip(*question.cases(run.config.problem), strict=True))
    found = (run.curves["epochs/feg"][-1] / run.curves["epochs/alg2"][-1]).T
    arrived = (run.curves["status/feg"][-1] == 1) & (run.curves["status/alg2"][-1] == 1)
    return n, ratio * 3.125 / np.sqrt(n), np.where(arrived.T, found, np.nan)


def won_where_predicted(run) -> Measured:
    """The least ratio over the cases in which worst cases let variance reduction win, each averaged over seeds."""
    _, place, found = _measured(run)
    means = found[place < 1].mean(axis=1)
    return without_interval(means.min(), found.shape[1])


def ratio_at(run, n: int, ratio: float) -> Measured:
    """Calls of FEG over those of Algorithm 2 in one case."""
    return measured(_measured(run)[2][question.cases(run.config.problem).index((n, ratio))])


def crossing(run) -> Measured:
    """Where the measured ratio is 1, in units of the predicted break-even: the geometric mean over sizes."""
    n, place, found = _measured(run)
    logs, x = np.log(found.mean(axis=1)), np.log(place)
    where = [np.interp(0.0, -logs[n == size], x[n == size]) for size in np.unique(n)]
    return without_interval(np.exp(np.mean(where)), len(where))


def unreached(run) -> Measured:
    """Share of runs that did not reach the accuracy within their budget."""
    return without_interval(np.mean(np.isnan(_measured(run)[2])))


def panel(ax, run) -> None:
    """The measured ratio by size, and the line that worst cases predict."""
    n, place, found = _measured(run)
    for size, (color, marker) in zip(np.unique(n), _LOOKS, strict=False):
        mine = n == size
        look = style.Look(f"n = {size:,}", color)
        looks.log_curve(ax, place[mine], found[mine], look, count=False, marker=marker, markersize=3)
    line = np.array([place.min(), place.max()])
    style.reference(ax, line, 1 / line, "predicted by worst cases")
    ax.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    ax.axvline(1, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ax.set_yscale("log")
    style.plain_ticks(ax.xaxis, [tick for tick in (0.1, 0.2, 0.5, 1, 2, 3) if line[0] * 0.9 <= tick <= line[1] * 1.1])
    ax.set_xlabel("(L / L_F) / (√n / 3.125)")
    ax.set_ylabel("calls of FEG / calls of Algorithm 2")


def quick_look(run) -> None:
    """The panel, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("break_even"))
