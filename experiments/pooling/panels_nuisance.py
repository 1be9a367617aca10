"""Drawings of pools that meet less of what matters than they were trained with."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["accuracy_panel", "final", "largest", "mass_panel", "quick_look"]

_HUES = ("grey", "orange", "blue", "green", "sky", "purple")


def _last(run, name: str) -> np.ndarray:
    """After the last step, `[R, pool]`."""
    return run.curves[name][-1].astype(np.float64)


def final(run, name: str, pool: str) -> Measured:
    """A metric of a pool after the last step."""
    return measured(_last(run, name)[:, run.axes["pool"].index(pool)])


def largest(run, name: str) -> Measured:
    """The largest of a metric over all steps, pools and replicates."""
    return without_interval(run.curves[name].max(), run.config.run.replicates)


def _bars(ax, run, name: str, pools, offset: float, width: float, **bar) -> None:
    values = [final(run, name, pool) for pool in pools]
    x = np.arange(len(pools)) + offset
    hues = [style.PALETTE[_HUES[run.axes["pool"].index(pool) % len(_HUES)]] for pool in pools]
    ax.bar(x, [value.value for value in values], width, color=hues, **bar)
    ends = np.transpose([[value.value - value.low, value.high - value.value] for value in values])
    ax.errorbar(x, [value.value for value in values], ends, fmt="none", ecolor="black", elinewidth=0.8)
    ax.set_xticks(np.arange(len(pools)), [pool.replace("GSP gamma=", "GSP\nγ = ") for pool in pools], fontsize=6)


def accuracy_panel(ax, run) -> None:
    """Test accuracy at the share of training (pale) and at the smaller one, with 95 % intervals; chance dotted."""
    problem, pools = run.config.problem, run.axes["pool"]
    as_trained = f"{problem.foreground:.0%} carry the class, as trained"
    _bars(ax, run, "accuracy", pools, -0.2, 0.38, alpha=0.35, label=as_trained)
    _bars(ax, run, "scarce", pools, 0.2, 0.38, label=f"{problem.scarce:.0%} carry it")
    ax.axhline(1 / problem.classes, color=style.PALETTE["grey"], linestyle=":", linewidth=0.8)
    ax.set(ylabel="test accuracy", ylim=(0, 1.3))
    ax.legend(fontsize=6, loc="upper center", ncols=2)


def mass_panel(ax, run) -> None:
    """Share of GSP's weights on features that carry the class; dashed, their share of all features."""
    pools = [pool for pool in run.axes["pool"] if pool.startswith("GSP")]
    _bars(ax, run, "mass", pools, 0.0, 0.6)
    share = round(run.config.problem.foreground * run.config.problem.features) / run.config.problem.features
    style.reference(ax, [-0.5, len(pools) - 0.5], [share, share], "without selection")
    ax.set(ylabel="weight on the class's features", ylim=(0, 1))
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.4, 1, 2)
    accuracy_panel(axes[0, 0], run)
    mass_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("nuisance"))
