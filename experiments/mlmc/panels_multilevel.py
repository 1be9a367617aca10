"""Drawings of fixed levels: variances, means, samples per level, and cost against the square of the tolerance."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured
from experiments.mlmc.multilevel import LOGGED
from research.mlmc.moments import CentralMoments

__all__ = [
    "bias", "cost", "cost_panel", "curve", "error", "mean_panel", "pooled", "quick_look", "rate", "samples_panel",
    "standard_cost", "variance_panel",
]  # fmt: skip

_HUES = style.PALETTE
#: Class of the link, and look.
WALKS = {
    "A1": style.Look("A1, square", _HUES["green"], "-", "D"),
    "A2": style.Look("A2, exponential", _HUES["purple"], "-", "h"),
    "A3": style.Look("A3, smooth", _HUES["blue"], "-", "o"),
    "A4": style.Look("A4, kink", _HUES["vermilion"], (0, (5, 1)), "s"),
    "A5": style.Look("A5, jump", _HUES["orange"], (0, (3, 1, 1, 1)), "^"),
}
_SHADES = ("sky", "blue", "green", "orange", "vermilion", "black")
#: Fewest samples of a level, all runs together, for it to enter a fit: a level that few runs reach has few samples
#: of each, and those that stopped the run.
_ENOUGH = 1000
#: Groups of runs that a rate is fitted to separately, for its interval.
_GROUPS = 8


def _point(run, tolerance: float | None) -> int:
    """Row of a tolerance; the finest one by default."""
    return -1 if tolerance is None else list(run.config.problem.tolerances).index(tolerance)


def curve(run, metric: str, walk: str, tolerance: float | None = None) -> np.ndarray:
    """A metric of all runs at a tolerance, `[R]` or `[R, level]`."""
    return run.curves[f"{metric}/{walk}"][_point(run, tolerance)].astype(np.float64)


def _merged(count, mean, second, third, fourth):
    """Moments of all runs together, from those of each, along the first axis."""
    total = np.maximum(count.sum(axis=0), 1)
    middle = (count * mean).sum(axis=0) / total
    off = mean - middle
    return (
        middle,
        (second + count * off**2).sum(axis=0),
        (third + 3 * off * second + count * off**3).sum(axis=0),
        (fourth + 4 * off * third + 6 * off**2 * second + count * off**4).sum(axis=0),
    )


def pooled(run, walk: str, runs: slice = slice(None)) -> CentralMoments:
    """Moments `[level, 2]` of Delta_l and P_l over replicates at the finest tolerance; of P_l the first two."""
    count = curve(run, "count", walk)[runs]
    logged = {metric: curve(run, metric, walk)[runs] for metric in LOGGED}
    nothing = np.zeros_like(count)
    difference = _merged(count, *(logged[metric] for metric in ("mean", "second", "third", "fourth")))
    value = _merged(count, logged["value_mean"], logged["value_second"], nothing, nothing)
    both = (np.stack(pair, axis=-1) for pair in zip(difference, value, strict=True))
    total = count.sum(axis=0).astype(np.int64)
    return CentralMoments(np.stack([total, total], axis=-1), *both)


def _usable(found: CentralMoments, of: str) -> np.ndarray:
    """Levels 1, 2, ... with enough samples, and with means beyond three standard errors where those are asked for."""
    count = found.count[:, 0]
    enough = count >= _ENOUGH
    if of == "mean":
        enough &= found.mean[:, 0] ** 2 > 9 * found.second[:, 0] / np.maximum(count, 1) ** 2
    return np.arange(1, len(enough) if enough.all() else int(np.argmin(enough)))


def rate(run, walk: str, of: str) -> Measured:
    """alpha ("mean") or beta ("variance"), by regression over all levels with enough samples; the interval is over
    groups of runs.
    """
    levels = _usable(pooled(run, walk), of)
    slopes = []
    for part in np.array_split(np.arange(run.config.run.replicates), min(_GROUPS, run.config.run.replicates)):
        found = pooled(run, walk, slice(part[0], part[-1] + 1))
        count = np.maximum(found.count[levels, 0], 1)
        y = np.abs(found.mean[levels, 0]) if of == "mean" else found.second[levels, 0] / count
        slopes.append(-np.polyfit(levels[y > 0], np.log2(y[y > 0]), 1)[0])
    return measured(slopes)


def error(run, walk: str, tolerance: float) -> Measured:
    """Root mean squared error over the tolerance; the interval is that of the mean square."""
    found = measured((curve(run, "error", walk, tolerance) / tolerance) ** 2)
    low, high = (float(np.sqrt(max(0.0, x))) for x in (found.low, found.high))
    return Measured(float(np.sqrt(found.value)), low, high, found.n)


def bias(run, walk: str, tolerance: float) -> Measured:
    """Mean error over the tolerance, without its sign."""
    errors = curve(run, "error", walk, tolerance) / tolerance
    return measured(errors * np.sign(errors.mean()))


def cost(run, walk: str, tolerance: float) -> Measured:
    """Leaves times the square of the tolerance."""
    return measured(curve(run, "leaves", walk, tolerance) * tolerance**2)


def standard_cost(run, walk: str, tolerance: float) -> Measured:
    """Of plain nested Monte Carlo with the inner samples of the finest level: Var P_L C_L / (1 - theta)."""
    finest = curve(run, "finest", walk, tolerance).astype(int)
    rows = np.arange(len(finest))
    count, second = (curve(run, metric, walk, tolerance)[rows, finest] for metric in ("count", "value_second"))
    leaves = 2.0 ** (finest + run.config.algo.base)
    return measured(second / count * leaves / (1 - run.config.algo.bias_share))


def _level_panel(ax, run, of: str, label: str) -> None:
    for walk in run.axes["walk"]:
        found, how = pooled(run, walk), WALKS[walk]
        levels = np.append(0, _usable(found, of))
        count = found.count[levels, 0]
        own, value = (found.mean, found.mean) if of == "mean" else (found.second, found.second)
        y, whole = (np.abs(x[levels, k]) / (1 if of == "mean" else count) for k, x in enumerate((own, value)))
        slope = rate(run, walk, of)
        text = f"{how.label}: {slope.value:.2f} ± {(slope.high - slope.low) / 2:.2f}"
        ax.plot(levels, y, color=how.color, linestyle=how.linestyle, marker=how.marker, markersize=3, label=text)
        ax.plot(levels, whole, color=how.color, linestyle=":", linewidth=0.8, label="_nolegend_")
    ax.set_yscale("log", base=2)
    ax.set(xlabel="level", ylabel=label)
    ax.legend(fontsize=5.5, title="decay per level", title_fontsize=5.5)


def variance_panel(ax, run) -> None:
    """Variances of Delta_l, and of P_l dotted; the rate beta in the legend."""
    _level_panel(ax, run, "variance", "variance")


def mean_panel(ax, run) -> None:
    """Means of Delta_l as far as they are not noise, and of P_l dotted; the rate alpha in the legend."""
    _level_panel(ax, run, "mean", "|mean|")


def samples_panel(ax, run, walk: str) -> None:
    """N_l by level, mean over runs that used the level, a line for every tolerance."""
    for tolerance, shade in zip(run.config.problem.tolerances, _SHADES, strict=False):
        count = curve(run, "count", walk, tolerance)
        used = (count > 0).sum(axis=0)
        levels = np.flatnonzero(used)
        mean = count.sum(axis=0)[levels] / used[levels]
        ax.plot(levels, mean, color=_HUES[shade], marker="o", markersize=3, label=f"ε = {tolerance:g}")
    ax.set_yscale("log")
    ax.set(xlabel="level", ylabel="samples", title=f"samples, {WALKS[walk].label}")
    ax.legend(fontsize=5.5)


def cost_panel(ax, run) -> None:
    """Cost times the square of the tolerance: ours with markers, plain nested Monte Carlo with the inner samples of the
    finest level dotted, and READ at its best r dashed, which needs no tolerance.
    """
    tolerances = np.asarray(run.config.problem.tolerances)
    for walk, wnv in zip(run.config.problem.adaptive, run.results["wnv"], strict=True):
        how, named = WALKS[walk], walk == run.config.problem.adaptive[0]
        ours, plain = ([of(run, walk, eps).value for eps in tolerances] for of in (cost, standard_cost))
        ax.plot(
            tolerances, ours, color=how.color, linestyle=how.linestyle, marker=how.marker, markersize=3, label=how.label
        )
        label = "plain, same finest level" if named else "_nolegend_"
        ax.plot(tolerances, plain, color=how.color, linestyle=":", linewidth=0.8, label=label)
        if np.isfinite(wnv):
            label = "READ, one term, best r" if named else "_nolegend_"
            style.reference(ax, tolerances[[0, -1]], [wnv, wnv], label, color=how.color, linewidth=0.8)
    ax.set(xscale="log", yscale="log", xlabel="tolerance ε", ylabel="ε² × leaves")
    style.plain_ticks(ax.xaxis, sorted(tolerances))
    low, high = ax.get_ylim()
    style.plain_ticks(ax.yaxis, [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low < tick < high])
    ax.legend(fontsize=5.5)


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.8, 2, 2)
    variance_panel(axes[0, 0], run)
    mean_panel(axes[0, 1], run)
    samples_panel(axes[1, 0], run, run.config.problem.adaptive[-1])
    cost_panel(axes[1, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("multilevel"))
