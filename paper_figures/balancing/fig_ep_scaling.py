"""Experts over devices: loads step by step, and what the fullest device computes."""

from experiments.balancing import panels_ep_scaling as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/ep_scaling.py"]
PAPER_CONFIGS = ["configs/balancing/paper_ep_scaling.py"]

caption = (
    "One layer of experts with the sign rule, tokens over all devices and experts over the axis model. Left: MaxVio of "
    "each step's batch as counted on several numbers of simulated CPU devices; every load and every bias is the same "
    "to the bit. Right: rows that the fullest device computes over an equal share, at the first step and over the last "
    "quarter of the steps; above the bars, rounds of the exchange, which drops nothing."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.violation_panel(axes[0, 0], run)
    panels.devices_panel(axes[0, 1], run)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "loads": panels.differing(run, "load"),
        "biases": panels.differing(run, "bias"),
        "outputs": panels.farthest(run),
    }
