"""Drawings of the ladder: unresolved pairs by marks, gaps of relational pooling, what sampling misses."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from research.pooling import graph_bounds

__all__ = [
    "error_slope", "gap_panel", "missed_difference", "missed_panel", "quick_look", "rungs", "steps_down", "unresolved",
    "unresolved_panel",
]  # fmt: skip

_LOOKS = {
    name: style.Look(name, style.PALETTE[color], line, marker)
    for name, color, line, marker in zip(
        graph_bounds.PAIRS, ("blue", "green", "vermilion"), ("-", (0, (5, 1)), (0, (3, 1, 1, 1))), "os^", strict=True
    )
}
LAST = list(graph_bounds.PAIRS)[-1]


def _marks(run) -> np.ndarray:
    return np.array([int(label) for label in run.axes["marks"]])


def _samples(run) -> np.ndarray:
    return np.array([int(label) for label in run.axes["samples"]])


def unresolved(run, marks: int) -> Measured:
    """Pairs of the atlas that so many marks do not resolve; the interval shows whether salts or orders disagree."""
    return measured(run.curves["unresolved"][-1][:, marks])


def steps_down(run) -> Measured:
    """The least decrease of unresolved pairs from one rung to the next, as long as there are any left."""
    values = run.curves["unresolved"][-1]
    falls = np.where(values[:, :-1] > 0, values[:, :-1] - values[:, 1:], np.inf)
    return without_interval(falls.min(), len(values))


def rungs(run) -> Measured:
    """Disagreements with the ladder: pairs and marks at which fingerprints differ and should not, or the reverse."""
    wrong = 0
    for name, (_, _, least) in graph_bounds.PAIRS.items():
        wrong += np.sum(run.curves[f"apart/{name}"][-1] != (_marks(run) >= least)[None])
    return without_interval(wrong, run.config.run.replicates)


def gaps(run, separated: bool) -> Measured:
    """The least gap of relational pooling where the ladder separates, or the largest where it does not."""
    values = []
    for name, (_, _, least) in graph_bounds.PAIRS.items():
        mine = (_marks(run) >= least) == separated
        values.append(run.curves[f"gap/{name}"][-1][:, mine].ravel())
    values = np.concatenate(values)
    return without_interval(values.min() if separated else values.max(), run.config.run.replicates)


def error_slope(run) -> Measured:
    """Exponent of the sampling error over the number of tuples, by seed."""
    x = np.log(_samples(run))
    return measured([np.polyfit(x, np.log(row), 1)[0] for row in run.curves[f"error/{LAST}"][-1]])


def missed_difference(run) -> Measured:
    """The largest difference of the measured miss rate from the predicted one."""
    predicted = graph_bounds.missed(run.curves["share"][-1][:, None], _samples(run)[None])
    return without_interval(np.abs(run.curves["missed"][-1] - predicted).max(), len(predicted))


def unresolved_panel(ax, run) -> None:
    """Unresolved pairs of the atlas by marks; an empty rung is written."""
    marks, values = _marks(run), run.curves["unresolved"][-1].mean(axis=0)
    bars = ax.bar(marks, values, color=style.PALETTE["blue"], width=0.6, label="1,l-WL")
    ax.bar_label(bars, [f"{value:,.0f}" for value in values], fontsize=7)
    pairs = run.curves["unresolved/pairs_of_nodes"][-1].mean()
    (bar,) = (ax.bar([marks[-1] + 1], [pairs], color=style.PALETTE["orange"], width=0.6, label="folklore 2-WL"),)
    ax.bar_label(bar, [f"{pairs:,.0f}"], fontsize=7)
    ax.set_xticks([*marks, marks[-1] + 1], [*map(str, marks), "2-WL"])
    ax.set(xlabel="marks l", ylabel="unresolved pairs", title=f"atlas, ≤ {run.config.problem.atlas_nodes} nodes")
    ax.margins(y=0.12)


def _log_curve(ax, x, values, look) -> None:
    """Geometric mean and 95 % interval over seeds `[x, R]`, as far as no seed has a zero."""
    from research.core.stats import t_interval

    sound = (values > 0).all(axis=1)
    found = t_interval(np.log(values[sound]), axis=1)
    style_ = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker, "markersize": 3}
    ax.plot(x[sound], np.exp(found.mean), label=look.label, **style_)
    ax.fill_between(x[sound], np.exp(found.low), np.exp(found.high), color=look.color, alpha=0.2, linewidth=0)


def gap_panel(ax, run) -> None:
    """Relative gap of relational pooling on the hard pairs, by marks; what is exactly 0 is drawn at 1e-17."""
    for name, look in _LOOKS.items():
        _log_curve(ax, _marks(run), np.maximum(run.curves[f"gap/{name}"][-1].T, 1e-17), look)
    ax.axhline(np.finfo(np.float64 if run.config.numerics.x64 else np.float32).eps, color="0.6", linestyle=":")
    ax.set_yscale("log")
    ax.set_xticks(_marks(run))
    ax.set(xlabel="marks l", ylabel="|RP(G) − RP(H)| / |RP(G)|", title="relational pooling")


def missed_panel(ax, run) -> None:
    """What random tuples do: the miss rate with its prediction, and the error of the mean."""
    samples = _samples(run)
    _log_curve(ax, samples, run.curves["missed"][-1].T, style.Look("missed", style.PALETTE["vermilion"], "-", "o"))
    share = run.curves["share"][-1].mean()
    predicted = graph_bounds.missed(share, samples)
    style.reference(ax, samples, predicted, f"predicted, (1 − {share:.3f})$^S$")
    error = run.curves[f"error/{LAST}"][-1].T
    _log_curve(ax, samples, error, style.Look("error of the mean", style.PALETTE["blue"], "-", "s"))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_ylim(bottom=min(1e-4, error.min() / 3))
    style.plain_ticks(ax.xaxis, samples)
    ax.set(xlabel="tuples S", ylabel="probability, relative error", title=f"{LAST}, sampled")


def quick_look(run) -> None:
    """Unresolved pairs and gaps, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    unresolved_panel(axes[0, 0], run)
    gap_panel(axes[0, 1], run)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("ladder"))
