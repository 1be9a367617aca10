"""What smoothing takes from the last layer and leaves in the history."""

from experiments.lib import style
from experiments.pooling import panels_smoothing as panels

CONFIGS = ["configs/pooling/smoothing.py"]
PAPER_CONFIGS = ["configs/pooling/paper_smoothing.py"]

caption = (
    "Graphs of two blocks, labelled by the sign of a correlation within nodes. Left: test accuracy after L steps of "
    "smoothing, of readouts from the last layer and from a signed combination of layers, fixed or trained. Right: the "
    "spread of nodes in layer L. Mean and 95 % interval over seeds; dotted, chance."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.accuracy_panel(axes[0, 0], run)
    panels.spread_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "history": panels.worst(run, "history"), "operator": panels.worst(run, "operator"),
        "last": panels.best(run, "last", 4), "operator_last": panels.best(run, "operator_last", 4),
        "vanished": panels.vanished(run),
    }  # fmt: skip
