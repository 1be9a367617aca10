"""Mean squared error against cost on problems without a symmetry that helps: one, two and three nestings."""

from experiments.lib import style
from experiments.mlmc import panels_rates as panels

CONFIGS = ["configs/mlmc/rates.py:d1", "configs/mlmc/rates.py", "configs/mlmc/rates.py:d3"]
PAPER_CONFIGS = ["configs/mlmc/paper_rates.py:d1", "configs/mlmc/paper_rates.py", "configs/mlmc/paper_rates.py:d3"]

caption = (
    "Mean squared error against leaves: problems A1 (one nesting), B2 (two) and C1 (three), whose exact values are "
    "known. Lines are least-squares fits, intervals of their slopes are jackknives over repetitions. READ's error "
    "falls as one over the cost at every depth; nested Monte Carlo pays for its bias, more with every nesting."
)

_NAMES = ("D = 1", "D = 2", "D = 3")


def draw(runs):
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, run, name in zip(axes[0], runs, _NAMES, strict=True):
        panels.error_panel(ax, run)
        ax.set_title(f"{run.config.problem.name}, {name}")
    return fig


def claims(runs):
    found = {}
    for run, depth in zip(runs, ("d1", "d2", "d3"), strict=True):
        for method in ("read", "equal", "square", "best"):
            if method == "read" or method in run.results:
                found[f"{method}/{depth}"] = panels.slope_of(run, method)
    return found
