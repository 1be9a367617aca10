"""Drawings of how loads settle under the sign rule: deviations against n, and against the band."""

import numpy as np

from experiments.balancing import contest
from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = ["course_panel", "excess", "quick_look", "share_panel", "step_sizes", "tested", "widest"]

_HUES = ("vermilion", "orange", "green", "blue", "purple")


def step_sizes(run) -> np.ndarray:
    """u of every row, in score units."""
    return np.array([row.value for row in contest.rows(run.config.algo.rows)])


def _exact(value, run) -> Measured:
    return without_interval(value, run.config.run.replicates)


def excess(run) -> Measured:
    """Largest deviation less its band, over all updates from N0 on, in tokens."""
    return _exact(run.curves["excess"].max(), run)


def tested(run) -> Measured:
    """Share of instances and step sizes whose run is longer than N0."""
    return _exact((run.results["time"] <= run.config.run.num_steps).mean(), run)


def widest(run) -> Measured:
    """Largest spread of the bias over its bound R + 2u."""
    return _exact(run.curves["spread"].max(), run)


def course_panel(ax, run, instance: int = 0) -> None:
    """One instance: largest deviation of every chunk against n, and from N0 on the band, dashed."""
    end = run.curves["step"][-1]
    for at, (u, hue) in enumerate(zip(step_sizes(run), _HUES, strict=False)):
        color = style.PALETTE[hue]
        ax.plot(run.curves["step"], run.curves["deviation"][:, instance, at], color=color, label=f"u = {u:g}")
        time, band = run.results["time"][instance, at], run.results["band"][instance, at]
        if time < end:
            ax.plot([time, end], [band, band], color=color, linestyle="--", linewidth=0.8, label="_nolegend_")
            ax.plot([time], [band], color=color, marker="|", markersize=5, label="_nolegend_")
    ax.set(xscale="log", xlabel="updates n", ylabel=f"max |A − L| in {run.config.run.chunk} updates, tokens")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(-0.1, 1.5 * run.results["band"][instance].max())
    style.plain_ticks(ax.yaxis, [0, 1, 2, 5, 10, 20])


def share_panel(ax, run) -> None:
    """Largest deviation from N0 on over the band, every instance, against the step size."""
    shares = run.curves["excess"] / run.results["band"][None] + 1
    first = run.results["time"][None] <= run.curves["step"][:, None, None] - run.config.run.chunk
    settled = np.max(np.where(first, shares, 0.0), axis=0)
    for at, (u, hue) in enumerate(zip(step_sizes(run), _HUES, strict=False)):
        value = settled[:, at][first[-1, :, at]]
        jitter = u * np.exp(np.linspace(-0.15, 0.15, len(value)))
        ax.scatter(jitter, value, s=6, color=style.PALETTE[hue], linewidths=0, label=f"u = {u:g}")
    style.reference(ax, [step_sizes(run).min() / 1.5, step_sizes(run).max() * 1.5], [1, 1], "band")
    ax.set(xscale="log", xlabel="u, score units", ylabel="largest deviation from $N_0$ on / band", ylim=(-0.03, 1.1))


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2)
    course_panel(axes[0, 0], run)
    axes[0, 0].legend(fontsize=6)
    share_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("settling"))
