"""What every choice of the group learner is worth on medical costs."""

from experiments.lib import style
from experiments.lib.tables import measured
from experiments.regret import panels_ablation as panels

CONFIGS = ["configs/regret/ablation.py"]
PAPER_CONFIGS = ["configs/regret/paper_ablation.py"]

caption = (
    "One choice of the group learner changed at a time, medical costs, twelve groups. Left: squared loss of everybody "
    "minus the default's (AdaNormalHedge, loss of the average prediction, clipped ridge experts, λ = 1), paired by "
    "shuffle, mean and 95 % interval, linear up to 0.1 and logarithmic beyond. Middle: the largest regret of any group "
    "(dashed: the default's). Right: loss of everybody against λ."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.5, 1, 3, width_ratios=(1.25, 0.8, 1))
    panels.difference_panel(axes[0, 0], run)
    panels.worst_panel(axes[0, 1], run)
    panels.regularization_panel(axes[0, 2], run)
    axes[0, 0].set_title("medical: loss of everybody (left is better)")
    axes[0, 0].set_xlabel(f"difference to the default (n = {run.config.run.replicates})")
    axes[0, 1].set_title("worst group")
    axes[0, 1].set_xlabel("its regret (squared loss)")
    axes[0, 2].set_title("regularization")
    return fig


def claims(runs):
    (run,) = runs
    found = {variant: measured(panels.loss(run, variant)[:, -1]) for variant in ("paper", "online_ridge")}
    for variant in ("expected", "ewa", "vaw", "smallest_group", "uniform_average", "online_ridge_clipped"):
        found[f"{variant}_minus_default"] = panels.difference(run, variant)
    for variant in ("default", "aa", "vaw"):
        found[f"seed_473_{variant}"] = measured(panels.loss(run, variant)[:1, -1])  # the first of the paper's shuffles
    return found
