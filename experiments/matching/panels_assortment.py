"""Drawings of one-pass assortments: value over the optimum against the number of items, by constraint."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval
from research.matching import assortment

__all__ = ["CONSTRAINTS", "constraint_panel", "least_share", "order_violation", "quick_look", "share"]

#: Constraints as the figure names them.
CONSTRAINTS = {"cardinality": "a third of the items", "budget": "a budget", "partition": "parts"}
_MODELS = {
    "logit": ("multinomial logit", "blue", "o"), "mixture": ("mixture of logits", "vermilion", "^"),
    "chain": ("Markov chain", "green", "s"),
}  # fmt: skip


def share(run, model: str, constraint: str, rule: str) -> np.ndarray:
    """Value over the optimum, `[sizes, R]`."""
    name = f"{model}/{constraint}"
    return run.curves[f"{name}/{rule}"].astype(np.float64) / run.results[f"{name}/optimum"]


def guaranteed(run, constraint: str) -> float:
    """What the rule with all thresholds never misses, proved in the library."""
    return float(assortment.guarantee(constraint, epsilon=run.config.algo.epsilon))


def least_share(run, constraint: str) -> Measured:
    """The least share of the optimum by the rule with all thresholds, where the order is proved submodular."""
    found = [share(run, model, constraint, "search") for model in ("logit", "mixture")]
    return without_interval(min(f.min() for f in found), sum(f.size for f in found))


def order_violation(run, name: str) -> Measured:
    """The largest failure of the order's inequalities over all instances and samples."""
    found = run.curves[f"submodular/{name}"]
    return without_interval(found.max(), found.size)


def constraint_panel(ax, run, constraint: str) -> None:
    """Mean share with its interval, and the worst draw, against the number of items; the proved ratio dashed."""
    sizes = np.asarray(run.config.problem.sizes)
    for model, (label, color, marker) in _MODELS.items():
        found = share(run, model, constraint, "search")
        look = style.Look(f"{label}, thresholds", style.PALETTE[color], "-", marker)
        style.curve(ax, sizes, found, look, marker=marker, markersize=3, linewidth=1.0)
        least = {"color": look.color, "linestyle": ":", "linewidth": 0.8}
        ax.plot(sizes, found.min(axis=1), label=f"{label}, worst draw", **least)
        greedy = share(run, model, constraint, "greedy").mean(axis=1)
        ax.plot(sizes, greedy, color=look.color, linestyle=(0, (5, 2)), linewidth=0.8, label=f"{label}, greedy")
    style.reference(ax, sizes[[0, -1]], [guaranteed(run, constraint)] * 2, "proved for thresholds", linewidth=0.8)
    ax.set_ylim(0.2, 1.02)
    ax.set_xlim(sizes.min(), sizes.max())
    ax.set_xticks(sizes)
    ax.set_xlabel("items")
    ax.set_title(CONSTRAINTS[constraint])


def quick_look(run) -> None:
    """A panel for each constraint, into the run directory."""
    fig, axes = style.figure("text", 0.4, 1, 3, sharey=True)
    for ax, constraint in zip(axes[0], CONSTRAINTS, strict=True):
        constraint_panel(ax, run, constraint)
    style.save(style.stamp(fig, [run]), run.figure("assortment"))
