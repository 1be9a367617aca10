"""Regret of balancing fresh tokens, by schedule and rule, against its leading orders."""

from experiments.balancing import panels_regret as panels
from experiments.lib import style

_KINDS = ("", ":uniform", ":normal", ":logistic")
CONFIGS = [f"configs/balancing/regret.py{kind}" for kind in _KINDS]
PAPER_CONFIGS = [f"configs/balancing/paper_regret.py{kind}" for kind in _KINDS]

caption = (
    "Expected regret of the dual value per token, from a bias of zero: mean over seeds with 95 % intervals, and the "
    "forecast of the linearised iteration (dashed). Steps of 1 / (µ n) pay logarithmically, others as √n or n. Bottom "
    "left: growth over the last seven eighths of the run, over that of the leading order in theory, with 95 % "
    "intervals; the shade is 15 %. Bottom right: regret since an eighth of the run in the units of the theorem."
)


def draw(runs):
    fig, axes = style.figure("text", 0.95, 3, 2)
    for ax, run in zip(axes.ravel()[:4], runs, strict=True):
        panels.course_panel(ax, run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    panels.growth_panel(axes[2, 0], runs)
    axes[2, 0].legend(fontsize=6, ncols=2)
    panels.logarithm_panel(axes[2, 1], runs, "prop inv_offset 1")
    axes[2, 1].legend(fontsize=6)
    return fig


def claims(runs):
    return {name: value for run in runs for name, value in panels.claims(run).items()}
