"""What a subset does not know of the set it is drawn from."""

from experiments.lib import style
from experiments.pooling import panels_superset as panels

CONFIGS = ["configs/pooling/superset.py"]
PAPER_CONFIGS = ["configs/pooling/paper_superset.py"]

caption = (
    "Share of a random subset S above the mean of its superset V, learned from S alone and from S and V. Dashed: the "
    "least error of any function of S (T12), in closed form for this law; dotted: the variance of the target. Mean and "
    "95 % interval over replicates, on fresh sets."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure("column", 0.75)
    panels.course_panel(ax, run)
    ax.legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "alone": panels.error(run, "S alone"),
        "ratio": panels.ratio(run),
        "floor": panels.above_floor(run),
    }
