"""Drawings of the bias of the stochastic smoothed maximum."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["batch_panel", "bound_share", "course_panel", "first_visit_gain", "quick_look", "ratio", "row", "sign"]

_COLORS = ("black", "blue", "vermilion", "green", "purple")
_MARKERS = ("*", "o", "^", "s", "D")
_STYLES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), "-", (0, (1, 1)))


def _looks(run) -> dict[float, style.Look]:
    """Of averaging weights."""
    return {
        weight: style.Look(
            "minibatch alone" if weight == 1 else f"γ = {weight:g}", style.PALETTE[color], line, marker
        )
        for weight, color, line, marker in zip(
            run.config.algo.averagings, _COLORS, _STYLES, _MARKERS, strict=False
        )
    }  # fmt: skip


def row(run, batch: int, weight: float) -> int:
    """Where a batch size and averaging weight stand in metrics."""
    return run.axes["row"].index(f"B = {batch}, γ = {weight:g}")


def _last(run, metric: str, batch: int, weight: float) -> np.ndarray:
    return run.curves[metric][-1, :, row(run, batch, weight)]


def ratio(run, weight: float) -> Measured:
    """Largest |bias| with averaging over that of the minibatch alone, over batch sizes; means over replicates."""
    found = [
        abs(_last(run, "bias", batch, weight).mean() / _last(run, "bias", batch, 1.0).mean())
        for batch in run.config.algo.batches
    ]
    return without_interval(max(found), run.config.run.replicates)


def sign(run) -> Measured:
    """Largest mean bias of any row at the last step: no more than 0 by Jensen's inequality, up to noise."""
    found = [measured(run.curves["bias"][-1, :, at]) for at in range(len(run.axes["row"]))]
    return max(found, key=lambda one: one.value)


def bound_share(run) -> Measured:
    """Largest bias over its proven limit, over rows and replicates, of minibatches alone: noise hides no small bias."""
    alone = [row(run, batch, 1.0) for batch in run.config.algo.batches]
    share = run.curves["bias"][-1][:, alone] / run.results["lower"][alone, -1].T
    return without_interval(share.max(), share.size)


def first_visit_gain(run, weight: float) -> Measured:
    """What averages that start from 0 add to the first value: tau log gamma."""
    at = row(run, run.config.algo.batches[0], weight)
    return measured(run.curves["unset"][0, :, at] - run.curves["bias"][0, :, at])


def course_panel(ax, run, batch: int) -> None:
    """Bias against visits; of averages that start from 0 dotted."""
    steps = run.curves["step"]
    for weight, how in _looks(run).items():
        at = row(run, batch, weight)
        style.curve(ax, steps, run.curves["bias"][..., at], how)
        if weight < 1:
            ax.plot(steps, run.curves["unset"][..., at].mean(axis=1), color=how.color, linestyle=":", linewidth=0.8,
                    label="_start from 0")  # fmt: skip
    ax.axhline(0, color=style.LOOKS["bound"].color, linewidth=0.6)
    ax.set_xscale("log")
    ax.set_xlabel(f"visits (B = {batch})")
    ax.set_ylabel("bias")


def batch_panel(ax, run) -> None:
    """-bias after all visits against the batch size, with its first term thin and the proven limit dashed."""
    batches = np.array(run.config.algo.batches)
    for weight, how in _looks(run).items():
        values = -np.stack([_last(run, "bias", batch, weight) for batch in batches])
        spread = np.array([measured(one)[1:3] for one in values]).T
        middle = values.mean(axis=1)
        error = np.maximum(np.abs(spread - middle[None]), 0)
        ax.errorbar(batches, middle, yerr=error, color=how.color, marker=how.marker, markersize=4, linestyle="none",
                    elinewidth=0.8, label=f"{how.label} (n = {values.shape[1]})")  # fmt: skip
        places = [row(run, batch, weight) for batch in batches]
        limits = -run.results["lower"][places, -1].mean(axis=1)
        ax.plot(batches, -run.results["leading"][places, -1].mean(axis=1), color=how.color, linewidth=0.6,
                label="_first term")  # fmt: skip
        ax.plot(batches, limits, color=how.color, linestyle="--", linewidth=0.8, label="_limit")
    ax.set(xscale="log", yscale="log", xlabel="instances per visit, B", ylabel="−bias after all visits")
    style.plain_ticks(ax.xaxis, batches)


def quick_look(run) -> None:
    """Bias against visits, into the run directory."""
    fig, ax = style.figure("column", 0.75)
    course_panel(ax, run, run.config.algo.batches[0])
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("running_max"))
