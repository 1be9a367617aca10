"""Drawings of bounds: root mean squares over seeds, their upper limits, and how fast last iterates decay."""

import numpy as np
from matplotlib.ticker import NullFormatter

from experiments.lib import style
from experiments.lib.tables import Measured, measured
from research.core import stats

__all__ = ["THEOREMS", "decay_of", "decay_panel", "largest_ratio", "quick_look", "ratio_panel", "ratios"]

_HUES = style.PALETTE

#: Look, and what stands on the horizontal axis.
THEOREMS = {
    "page": (style.Look("Algorithm 1, |F + g|", _HUES["purple"], "-", "X"), "k"),
    "vr_forb": (style.Look("VR-FoRB, |v − J|", _HUES["orange"], "-", "^"), "M"),
    "exact": (style.Look("Algorithm 2, exact", _HUES["black"], (0, (5, 1)), "s"), "k"),
    "reflected": (style.Look("Algorithm 2, exact and reflected", _HUES["green"], (0, (3, 1, 1, 1)), "D"), "k"),
    "inexact": (style.Look("Algorithm 2, inexact by theory", _HUES["blue"], "-", "o"), "k"),
}  # fmt: skip

#: Theorems that are checked every so many iterations, from the first stride on.
STRIDED = ("page", "vr_forb")

#: Iterations before this share of the run are left out of the fits.
_FITTED_FROM = 0.25


def root_mean_square(run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every instance, `[points, instance]`: the root mean square over seeds, and its upper 95 % limit."""
    found = stats.t_interval(run.curves[name].astype(np.float64), 0.9, axis=1)  # two sides of 5 %: one limit of 95 %
    return np.sqrt(found.mean), np.sqrt(found.high)


def ratios(run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Measured over allowed, and the upper limits of that; `[points, instance]`."""
    return tuple(part / run.results[f"allowed/{name}"] for part in root_mean_square(run, name))


def largest_ratio(run, name: str) -> Measured:
    """The largest upper limit of measured / allowed over all points and instances; `low` is without the limit."""
    value, upper = ratios(run, name)
    return Measured(float(upper.max()), float(value.max()), float(upper.max()), run.curves[name].shape[1])


def decay_of(run, name: str, instance: int) -> Measured:
    """The slope of log root mean square against log k over the last three quarters, and Student's interval over eight
    groups of seeds, each with its own root mean square; of one fit where nothing is drawn."""
    counts, squares = run.results[f"counts/{name}"], run.curves[name][..., instance].astype(np.float64)
    kept = slice(int(_FITTED_FROM * len(counts)), None)
    if np.ptp(squares, axis=1).max() <= 1e-12 * squares.max():
        fit = stats.rate_fit(counts[kept] + 2, np.sqrt(squares[kept, 0]))
        return Measured(fit.slope, fit.low, fit.high, 1)
    groups = np.array_split(squares, min(8, squares.shape[1]), axis=1)
    return measured([stats.rate_fit(counts[kept] + 2, np.sqrt(part.mean(axis=1))[kept]).slope for part in groups])


def ratio_panel(ax, run) -> None:
    """The upper limit of measured / allowed against the share of the run, on the worst instance."""
    for name, (how, _) in THEOREMS.items():
        upper = ratios(run, name)[1]
        along = (np.arange(len(upper)) + 1) / len(upper)
        ax.plot(
            along, upper.max(axis=1), color=how.color, linestyle=how.linestyle, marker=how.marker, markersize=3,
            markevery=max(1, len(along) // 6), label=how.label,
        )  # fmt: skip
    style.reference(ax, [along[0], 1], [1, 1], "bound")
    ax.set_yscale("log")
    ax.set_ylim(0.02, 2)
    ax.set_xlabel("share of the run")
    ax.set_ylabel("measured / bound")


def decay_panel(ax, run, name: str) -> None:
    """Root mean squares on the flattest and on the steepest spectrum, with limits, bounds and fitted slopes."""
    how, axis = THEOREMS[name]
    shift = 2 if name not in STRIDED else 0
    counts = run.results[f"counts/{name}"] + shift
    for instance, color, kind in ((0, how.color, "flat"), (run.config.problem.instances - 1, _HUES["grey"], "steep")):
        value, upper = (part[:, instance] for part in root_mean_square(run, name))
        slope = decay_of(run, name, instance)
        spread = f"± {(slope.high - slope.low) / 2:.1g}"
        ax.plot(counts, value, color=color, label=f"{kind}: slope {slope.value:.2f} {spread}".replace("-", "−"))
        ax.fill_between(counts, value, upper, color=color, alpha=0.3, linewidth=0)
        allowed = run.results[f"allowed/{name}"][:, instance]
        ax.plot(counts, allowed, color=color, linestyle="--", linewidth=0.8, label="_nolegend_")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"{axis} + {shift}" if shift else axis)
    ax.set_title(how.label)
    ax.legend(fontsize=6, loc="lower left")


def quick_look(run) -> None:
    """All ratios, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    ratio_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("bounds"))
