"""Lanes with shared coins: full operators that are really evaluated, and time."""

from experiments.halpern import panels_lanes as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/lanes.py"]
PAPER_CONFIGS = ["configs/halpern/paper_lanes.py"]

caption = (
    "Algorithm 1 as lanes of one program. Left: full operators evaluated per iteration and lane, counted by a "
    "callback (for one lane: its mean probability of a refresh). Coins of their own turn every branch into a "
    "selection, and variance reduction is gone. Right: time per iteration and lane, compilation apart, the fastest "
    "lap."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 2)
    panels.evaluations_panel(axes[0, 0], run)
    panels.time_panel(axes[0, 1], run)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"evaluated/{name}": value for name, value in panels.evaluated(run).items()}
    return found | {"batch": panels.whole_batch(run)}
