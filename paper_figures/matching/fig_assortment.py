"""Assortments in one pass along the price order, against brute force."""

from experiments.lib import style
from experiments.matching import panels_assortment as panels

CONFIGS = ["configs/matching/assortment.py"]
PAPER_CONFIGS = ["configs/matching/paper_assortment.py"]

caption = (
    "Assortments chosen in one pass from dear to cheap: value over the optimum by brute force, mean and 95 % interval "
    "over n draws. Solid: the best of all thresholds (swaps for parts), for which the dashed ratio is proved where the "
    "order is submodular: logit and mixture, not the chain. Dotted: the worst draw. Broken: whatever fits and gains."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.46, 1, 3, sharey=True)
    for ax, constraint in zip(axes[0], panels.CONSTRAINTS, strict=True):
        panels.constraint_panel(ax, run, constraint)
    axes[0, 0].set_ylabel("value / optimum")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=5.5)
    return fig


def claims(runs):
    (run,) = runs
    found = {constraint: panels.least_share(run, constraint) for constraint in panels.CONSTRAINTS}
    return found | {f"order/{name}": panels.order_violation(run, name) for name in ("logit", "mixture")}
