"""Drawings of estimates at a deadline."""

from experiments.lib import style
from experiments.lib.tables import Measured, measured
from experiments.mlmc import panels_looks as looks

__all__ = ["error", "estimates_panel", "pooled", "quick_look"]


def pooled(run, budget: int) -> Measured:
    """The mean of what all workers have completed."""
    return measured(run.results["pooled"][list(run.results["budgets"]).index(budget)])


def error(run, budget: int) -> Measured:
    """The rule's mean less the exact value."""
    return measured(run.results["rule"][list(run.results["budgets"]).index(budget)] - run.results["exact"])


def estimates_panel(ax, run) -> None:
    """Means over sets of workers with 95 % intervals, against the time of a worker."""
    budgets = run.results["budgets"]
    for name, method, label in (("pooled", "equal", "completed, pooled"), ("rule", "read", "mean of workers' means")):
        style.curve(ax, budgets, run.results[name], looks.METHODS[method], label=label, marker="o", markersize=3)
    style.reference(ax, [budgets[0], budgets[-1]], [float(run.results["exact"])] * 2, "exact")
    ax.set(xscale="log", xlabel="leaves that a worker has time for", ylabel="estimate")
    style.plain_ticks(ax.xaxis, budgets)
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """The panel, into the run directory."""
    fig, ax = style.figure()
    estimates_panel(ax, run)
    style.save(style.stamp(fig, [run]), run.figure("deadline"))
