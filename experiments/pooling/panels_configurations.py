"""Drawings of pooling configurations: alone against what mixtures of supernets say of them."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = [
    "agreement",
    "agreement_panel",
    "change",
    "correlations",
    "course_panel",
    "picked",
    "quick_look",
    "scatter_panel",
    "spread",
]

_COLORS = ("grey", "blue", "vermilion", "green", "purple")
_MARKERS = ("o", "s", "^", "D", "v")


def _alone(run) -> np.ndarray:
    """Validation accuracy of configurations trained alone, mean over seeds, `[A]`."""
    return run.results["alone"].mean(axis=0)


def correlations(run, mixture: int, by: str) -> np.ndarray:
    """Kendall's tau-b between the mixture's scores and accuracies alone, `[R]`; accuracies are means over seeds."""
    from scipy import stats

    alone = _alone(run)
    at = list(run.config.algo.mixtures).index(mixture)
    return np.array([stats.kendalltau(one, alone).statistic for one in run.results[by][:, at]])


def agreement(run, mixture: int, by: str = "expected") -> Measured:
    """`correlations`, mean over seeds."""
    return measured(correlations(run, mixture, by))


def change(run, more: int, fewer: int, by: str = "expected") -> Measured:
    """Correlation with `more` networks less that with `fewer`, seed by seed."""
    return measured(correlations(run, more, by) - correlations(run, fewer, by))


def spread(run) -> Measured:
    """Standard deviation over configurations of accuracy alone, over that of its mean over seeds: how much there is to
    rank. Of one seed, infinite."""
    alone = run.results["alone"]
    noise = alone.std(axis=0, ddof=1).mean() / np.sqrt(len(alone)) if len(alone) > 1 else 0.0
    return Measured(alone.mean(axis=0).std() / noise if noise else np.inf, -np.inf, np.inf, len(alone))


def picked(run, mixture: int, by: str = "expected") -> Measured:
    """Accuracy alone of the configuration that the mixture ranks first, less that of the best one."""
    at = list(run.config.algo.mixtures).index(mixture)
    alone = _alone(run)
    return measured(alone[run.results[by][:, at].argmax(axis=1)] - alone.max())


def scatter_panel(ax, run) -> None:
    """Scores of mixtures against accuracies alone, means over seeds."""
    alone = _alone(run)
    for at, count in enumerate(run.config.algo.mixtures):
        score = run.results["expected"][:, at].mean(axis=0)
        ax.plot(100 * alone, 100 * score, linestyle="none", marker=_MARKERS[at], markersize=3.5,
                color=style.PALETTE[_COLORS[at]], label=f"M = {count}")  # fmt: skip
    ax.set_xlabel("accuracy alone (%)")
    ax.set_ylabel("accuracy in the mixture (%)")


def agreement_panel(ax, run) -> None:
    """Kendall's tau with accuracies alone by number of networks, for both scores, with intervals."""
    counts = np.array(run.config.algo.mixtures)
    for by, label, color, marker in (
        ("expected", "expected accuracy", "blue", "o"), ("best", "best network", "orange", "s"),
    ):  # fmt: skip
        found = [agreement(run, count, by) for count in counts]
        middle = np.array([one.value for one in found])
        error = np.array([(one.value - one.low, one.high - one.value) for one in found]).T
        ax.errorbar(counts, middle, yerr=np.where(np.isfinite(error), error, 0), color=style.PALETTE[color],
                    marker=marker, markersize=4, elinewidth=0.8, label=f"{label} (n = {found[0].n})")  # fmt: skip
    ax.axhline(0, color=style.LOOKS["bound"].color, linewidth=0.6)
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, counts)
    ax.set_xlabel("supernets, M")
    ax.set_ylabel("Kendall's τ with accuracy alone")
    ax.set_ylim(-1, 1)


def course_panel(ax, run) -> None:
    """Accuracy on validation batches against steps."""
    for at, label in enumerate(run.axes["row"]):
        how = style.Look(label, style.PALETTE["black"] if at == 0 else style.PALETTE[_COLORS[at - 1]])
        style.curve(ax, run.curves["step"], 100 * run.curves["held"][..., at], how)
    ax.set_xlabel("steps of a mixture")
    ax.set_ylabel("validation accuracy (%)")
    ax.set_ylim(0, 105)


def quick_look(run) -> None:
    """Rank agreement, into the run directory."""
    fig, ax = style.figure("column", 0.75)
    agreement_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("configurations"))
