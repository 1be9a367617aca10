"""Accuracy on digits of any size, with a spatial pyramid and with a global mean."""

from experiments.lib import style
from experiments.pooling import panels_pyramid as panels

CONFIGS = ["configs/pooling/pyramid.py"]
PAPER_CONFIGS = ["configs/pooling/paper_pyramid.py"]

caption = (
    "Networks with a spatial pyramid of 4, 2 and 1 bins per side, or with a global mean, trained on digits of one or "
    "two sizes (filled markers) and tested on five. Mean and 95 % interval over seeds. Both heads have one length for "
    "pictures of any size; only the pyramid knows where in the picture something was."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure("column", 0.8)
    panels.size_panel(ax, run)
    ax.legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    if "pyramid 12 24" not in run.axes["row"]:
        return {}
    return {
        "least": panels.least(run, "pyramid 12 24", 12),
        "over mean": panels.margin(run, "pyramid 12 24", "mean 12 24", 12),
    }
