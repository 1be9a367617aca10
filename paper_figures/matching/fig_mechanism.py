"""The truthful mechanism: welfare by family, what rollouts cost against exact prices, and prices along a run."""

from experiments.lib import style
from experiments.matching import panels_mechanism as panels

CONFIGS = ["configs/matching/mechanism.py"]
PAPER_CONFIGS = ["configs/matching/paper_mechanism.py"]

caption = (
    "Posted prices equal to what a node would still earn under the rescaled rounding: truthful, and never worse than "
    "the rounding. Left: share of the best online policy's value by family, mean and 95 % interval over n instances. "
    "Middle: prices estimated by rollouts with common random numbers, mean over the benign families. Right: exact "
    "prices along one run; discs are sales. No random misreport gained anything (see the claims)."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.48, 1, 3, width_ratios=(1.4, 1, 1))
    panels.family_panel(axes[0, 0], run)
    panels.rollouts_panel(axes[0, 1], run)
    axes[0, 1].set_title("benign families")
    panels.path_panel(axes[0, 2], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "least_share": panels.least_share(run),
        "guarantee": panels.least_share(run),
        "improvement": panels.least_gain(run),
        "gain_exact": panels.largest_gain(run, "exact"),
        "gain_rollouts": panels.largest_gain(run, "rollouts"),
    }
