"""Pools that meet less of what matters than they were trained with."""

from experiments.lib import style
from experiments.pooling import panels_nuisance as panels

CONFIGS = ["configs/pooling/nuisance.py"]
PAPER_CONFIGS = ["configs/pooling/paper_nuisance.py"]

caption = (
    "Images of features of which few carry their class's direction, the others one of a few nuisance directions. Left: "
    "test accuracy with as many class features as in training (pale) and with half as many. Right: the share of the "
    "weights of generalized sum pooling on class features; dashed, their share of all. Mean and 95 % interval over "
    "replicates; dotted, chance."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 2)
    panels.accuracy_panel(axes[0, 0], run)
    panels.mass_panel(axes[0, 1], run)
    return fig


def claims(runs):
    (run,) = runs
    sharp = "GSP gamma=20"
    return {
        "scarce": panels.final(run, "scarce", sharp),
        "mass": panels.final(run, "mass", sharp),
        "usual": panels.final(run, "accuracy", sharp),
        "mean": panels.final(run, "scarce", "mean"),
        "flat": panels.final(run, "mass", "GSP gamma=0.1"),
        "imbalance": panels.largest(run, "imbalance"),
        "outside": panels.largest(run, "outside"),
    }
