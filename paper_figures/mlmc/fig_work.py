"""Standard deviation of a READ replicate over (r_0, r_1), published sigmoid problem, plain and times root cost."""

from experiments.lib import style
from experiments.mlmc import panels_work as panels

CONFIGS = ["configs/mlmc/work.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_work.py"]

caption = (
    "Empirical standard deviation of a replicate (left) and times the root of its expected leaves (right), sigmoid "
    "problem. Top: r for which the variance is finite. Bottom: r_0 of 0.8 and above, where the variance is infinite "
    "and these numbers mean nothing: they look small because the rare high levels, which carry the variance, were not"
    " drawn."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.8, 2, 2)
    for row, outside in enumerate((False, True)):
        for column, scaled in enumerate((False, True)):
            panels.map_panel(fig, axes[row, column], run, outside, scaled)
    axes[0, 0].set_title("sd")
    axes[0, 1].set_title("sd × √leaves")
    axes[1, 0].set_title("infinite variance: sd is meaningless", color="C3")
    axes[1, 1].set_title("infinite variance: meaningless", color="C3")
    return fig


def claims(runs):
    (run,) = runs
    return {"z": panels.largest_z(run), "luck": panels.luck(run)}
