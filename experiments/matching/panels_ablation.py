"""Drawings of the rounding's choices: modes and rescalings by family, and the rescaling on benign inputs."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.matching import panels_looks as looks
from experiments.matching import panels_ratio

__all__ = ["difference", "least_share", "modes_panel", "price_panel", "quick_look", "share"]

MODES = ("closed_form", "pivotal", "bins", "independent", "keep")
_FAMILIES = panels_ratio.FAMILIES | {"hard": "hard"}
_LABELS = {
    "closed_form": "closed form", "pivotal": "pivotal sampling", "bins": "bins", "independent": "independent",
    "keep": "losers kept",
}  # fmt: skip
#: Scalings and their marker faces.
_FILLED = {"none": False, "braverman:24": True}


def families(run) -> list[str]:
    """Labels of the run's cases."""
    return [_FAMILIES[name].format(parameter) for name, parameter, *_ in run.config.problem.cases]


def share(run, mode: str, scaling: str) -> np.ndarray:
    """Share of LP-OnOpt, `[cases, R]`."""
    place = run.axes["scaling"].index(scaling)
    return run.curves[mode][..., place].astype(np.float64) / run.curves["dual"]


def difference(run, first: tuple[str, str], second: tuple[str, str]) -> Measured:
    """Mean over benign instances of the paired difference of two (mode, scaling), in shares of LP-OnOpt."""
    benign = np.array([case[0] != "hard" for case in run.config.problem.cases])
    return measured((share(run, *first) - share(run, *second))[benign])


def least_share(run) -> Measured:
    """The least share of LP-OnOpt of the closed form and of pivotal sampling with the published rescaling."""
    found = [share(run, mode, "braverman:24").min() for mode in ("closed_form", "pivotal")]
    return without_interval(min(found), run.config.run.replicates)


def modes_panel(ax, run) -> None:
    """Mean share of every mode by family, with intervals; filled: rescaled."""
    groups = families(run)
    slots = [(mode, scaling) for mode in MODES for scaling in _FILLED]
    for k, (mode, scaling) in enumerate(slots):
        found = [measured(row) for row in share(run, mode, scaling)]
        value = np.array([one.value for one in found])
        spread = [value - [one.low for one in found], [one.high for one in found] - value]
        look = looks.ALGORITHMS[mode]
        place = np.arange(len(groups)) + (k - (len(slots) - 1) / 2) * 0.08
        ax.errorbar(
            place, value, yerr=np.maximum(spread, 0), color=look.color, marker=look.marker, markersize=3.2,
            linestyle="none", elinewidth=0.7, markerfacecolor=look.color if _FILLED[scaling] else "white",
            markeredgewidth=0.7, label=f"{_LABELS[mode]} (n = {found[0].n})" if _FILLED[scaling] else "_nolegend_",
        )  # fmt: skip
    for edge in np.arange(len(groups) - 1) + 0.5:
        ax.axvline(edge, color="0.9", linewidth=0.6, zorder=0)
    ax.set_xticks(np.arange(len(groups)), groups)
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    looks.guarantee_line(ax, "pivotal")
    looks.ratio_axis(ax, "LP-OnOpt")


def price_panel(ax, run) -> None:
    """Mean share on the benign families at every pair (eps, delta), the published ones marked."""
    benign = np.array([case[0] != "hard" for case in run.config.problem.cases])
    shares = (run.curves["grid"] / run.curves["dual"][..., None])[benign].mean(axis=(0, 1))
    eps, delta = (np.asarray(values) for values in (run.config.algo.eps, run.config.algo.delta))
    shown = ax.contourf(delta, eps, shares.reshape(len(eps), len(delta)), levels=9, cmap="cividis")
    for (e, d), name in {(0.11, 0.18): "0.678", (0.048, 0.0643): "0.652"}.items():
        if delta.min() <= d <= delta.max() and eps.min() <= e <= eps.max():
            ax.scatter(
                [d], [e], s=22, marker="*", color=style.PALETTE["vermilion"], zorder=4, label=f"published, {name}"
            )
            ax.annotate(name, (d, e), xytext=(4, 3), textcoords="offset points", fontsize=6, color="white")
    ax.set_xlabel("δ")
    ax.set_ylabel("ε")
    ax.grid(visible=False)
    ax.set_title("closed form, mean of benign families")
    ax.figure.colorbar(shown, ax=ax, label="value / LP-OnOpt")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2, width_ratios=(1.5, 1))
    modes_panel(axes[0, 0], run)
    price_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("ablation"))
