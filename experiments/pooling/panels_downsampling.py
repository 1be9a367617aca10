"""Drawings of what pools leave of photographs."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["METRICS", "best_sharpness", "better", "lead", "pools_panel", "quick_look", "rises", "sharpness_panel"]

METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM", "psnr_nearest": "PSNR, elements repeated, dB"}


def _means(run, name: str) -> np.ndarray:
    """Over the photographs, `[R, pool or beta]`."""
    return run.curves[name].mean(axis=0)


def lead(run, metric: str, one: str, other: str) -> Measured:
    """By how much the first pool keeps more than the second, of the same crops."""
    names, found = run.axes["pool"], _means(run, metric)
    return measured(found[:, names.index(one)] - found[:, names.index(other)])


def best_sharpness(run, metric: str) -> Measured:
    """The sharpness of SoftPool that keeps most on average."""
    found = _means(run, f"{metric}/beta").mean(axis=0)
    return without_interval(float(run.axes["beta"][int(found.argmax())]), run.config.run.replicates)


def rises(run, metric: str) -> Measured:
    """The largest rise from one sharpness to the next larger one; at most 0 where sharper keeps less."""
    return without_interval(np.diff(_means(run, f"{metric}/beta").mean(axis=0)).max(), run.config.run.replicates)


def better(run) -> Measured:
    """Share of all windows in which some pool has a smaller squared error than the average."""
    worst = max(run.curves[name].max() for name in ("better", "better/beta"))
    return without_interval(worst, run.config.run.replicates)


def pools_panel(ax, run, metric: str) -> None:
    """A point per pool, with the interval over crops."""
    names = run.axes["pool"]
    found = [measured(column) for column in _means(run, metric).T]
    reach = [one.high - one.value for one in found]
    places = range(len(names))
    ax.errorbar([one.value for one in found], places, xerr=reach, fmt="o", color=style.PALETTE["blue"], markersize=4)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xlabel(METRICS[metric])


def sharpness_panel(ax, run, metric: str) -> None:
    """Against SoftPool's sharpness, with the average and the maximum as lines."""
    betas = np.array([float(beta) for beta in run.axes["beta"]])
    look = style.Look("SoftPool", style.PALETTE["green"], "-", "o")
    style.curve(ax, betas, _means(run, f"{metric}/beta").T, look, marker="o")
    for name in ("average", "max"):
        level = _means(run, metric)[:, run.axes["pool"].index(name)].mean()
        ax.axhline(
            level, color=style.PALETTE["grey"], linestyle="--" if name == "max" else ":", linewidth=1, label=name
        )
    ax.set_xscale("symlog", linthresh=betas[betas > 0].min())
    ax.set_xlim(-0.05, 1.2 * betas.max())
    style.plain_ticks(ax.xaxis, betas)
    ax.set(xlabel="sharpness, 1 / grey level", ylabel=METRICS[metric])


def quick_look(run) -> None:
    """Both metrics, into the run directory."""
    fig, axes = style.figure("text", 0.6, 2, 2)
    for row, metric in zip(axes, ("psnr", "ssim"), strict=True):
        pools_panel(row[0], run, metric)
        sharpness_panel(row[1], run, metric)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("downsampling"))
