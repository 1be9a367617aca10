"""Estimates of many workers that stop at a deadline: pooled, and by the rule that is unbiased."""

from experiments.lib import style
from experiments.mlmc import panels_deadline as panels

CONFIGS = ["configs/mlmc/deadline.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_deadline.py"]

caption = (
    "READ on A1 by workers that stop at a deadline. Pooling all completed replicates favours cheap ones, which have "
    "small levels, and the bias does not go away with more workers. A worker that always finishes its first replicate "
    "and counts once is unbiased at every deadline. Mean and 95 % interval over sets of workers."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure()
    panels.estimates_panel(ax, run)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"pooled/{budget}": panels.pooled(run, budget) for budget in (8, 32, 128)}
    return found | {f"rule/{budget}": panels.error(run, budget) for budget in (8, 32, 128)}
