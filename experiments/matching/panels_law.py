"""Drawings of the audit: errors of every rule on every instance, and where the naive rule fails."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval
from experiments.matching import panels_looks as looks

__all__ = ["RULES", "least_p_value", "naive_map", "quick_look", "rules_panel", "worst"]

#: Rules as the figure names them.
RULES = {
    "pivotal": "pivotal sampling", "closed_form": "closed form", "typed": "closed form, types", "bins": "bins",
    "independent": "independent", "naive": "naive: all or nothing",
}  # fmt: skip

_FLOOR = 1e-18


def worst(run, quantity: str, rule: str) -> Measured:
    """The largest "marginal" error or "dependence" violation over all instances."""
    found = run.curves[f"{quantity}/{rule}"]
    return without_interval(found.max(), found.size)


def least_p_value(run) -> Measured:
    """Least two-sided binomial p-value of the simulated counts of free nodes, times the number of comparisons."""
    from scipy import stats

    counts, chance, runs = run.curves["free"], np.clip(run.curves["survival"], 0, 1), run.config.run.runs
    tail = np.minimum(stats.binom.cdf(counts, runs, chance), stats.binom.sf(counts - 1, runs, chance))
    return without_interval(2 * tail.min() * tail.size, tail.size)


def rules_panel(ax, run, quantity: str) -> None:
    """A point for every instance, by rule, on a logarithmic axis; exact zeros lie on its lower end."""
    rng = np.random.default_rng(0)  # of the horizontal spread only
    for place, rule in enumerate(RULES):
        found = np.maximum(run.curves[f"{quantity}/{rule}"].reshape(-1), _FLOOR)
        at = place + rng.uniform(-0.3, 0.3, found.size)
        failed = found > 1e-9
        color = style.PALETTE["vermilion"] if failed.any() else looks.ALGORITHMS["closed_form"].color
        ax.scatter(at, found, s=3, color=color, linewidths=0, alpha=0.6, label=f"{RULES[rule]} (n = {found.size})")
    style.reference(ax, [-0.5, len(RULES) - 0.5], [1e-9, 1e-9], "1e-9", linewidth=0.8)
    ax.set_yscale("log")
    ax.set_ylim(_FLOOR / 3, 1)
    ax.set_xlim(-0.5, len(RULES) - 0.5)
    ax.set_xticks(range(len(RULES)), RULES.values(), rotation=30, ha="right", rotation_mode="anchor")
    ax.grid(axis="x", visible=False)


def naive_map(fig, ax, run) -> None:
    """Violation of negative dependence by the naive rule, two nodes, one time."""
    grid = run.results["grid"]
    step = grid[1] - grid[0]
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    shown = ax.pcolormesh(edges, edges, run.results["naive_slack"], cmap="cividis", vmin=0, vmax=0.25, rasterized=True)
    ax.grid(visible=False)
    ax.set_xlabel("rate r of both nodes")
    ax.set_ylabel("arrival probability p")
    fig.colorbar(shown, ax=ax, label="P[both free] − product")


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, quantity in zip(axes[0], ("marginal", "dependence"), strict=False):
        rules_panel(ax, run, quantity)
        ax.set_title(quantity)
    naive_map(fig, axes[0, 2], run)
    style.save(style.stamp(fig, [run]), run.figure("law"))
