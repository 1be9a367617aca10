"""Accuracy on moved, turned and scaled digits, by the pool of the network."""

from experiments.lib import style
from experiments.pooling import panels_invariance as panels

CONFIGS = ["configs/pooling/invariance.py"]
PAPER_CONFIGS = ["configs/pooling/paper_invariance.py"]

caption = (
    "A small network on digits of 24 x 24 pixels, with each pool in both of its 2 x 2 places, trained on pictures as "
    "they are. Left: accuracy on test pictures shifted to each of the four sides, their mean. Right: turned by 15 and "
    "30 degrees, and scaled. Mean and 95 % interval over seeds. Where both are shown, the poset filter over 4 equals "
    "the average: behind a ReLU every poset filter is the sum."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.45, 1, 2)
    panels.shift_panel(axes[0, 0], run)
    panels.bars_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    names = run.axes["pool"]
    rivals = [name for name in ("max", "avg") if name in names]
    found = {f"tree/{change}": panels.margin(run, change, "tree", *rivals) for change in panels.SHIFTS}
    if {"gated", "mixed"} <= set(names):
        found["gated/shift 1"] = panels.margin(run, "shift 1", "gated", "mixed")
        found["mixed/shift 1"] = panels.margin(run, "shift 1", "mixed", "max")
    if {"poset N", "poset N / 4"} <= set(names):
        found["poset"] = panels.largest_difference(run, "poset N / 4", "avg")
    return found
