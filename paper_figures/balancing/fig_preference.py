"""Switches of tokens between experts, by the loads of both."""

from experiments.balancing import panels_preference as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/preference.py"]
PAPER_CONFIGS = ["configs/balancing/paper_preference.py"]

caption = (
    "All switches of all updates of fixed scores, three schedules of each rule. Left and middle: by the sign of the "
    "experts' excess of load. Under the sign rule only the three fields above the diagonal can be filled; proportional "
    "steps also move tokens between experts on the same side of L. Right: by the difference of the loads, "
    "dropped less picked; larger ones count as the last. None is zero or negative."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.36, 1, 3)
    panels.matrix_panel(axes[0, 0], run, "sign")
    panels.matrix_panel(axes[0, 1], run, "prop")
    panels.difference_panel(axes[0, 2], run)
    axes[0, 2].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {f"violations/{kind}": panels.violations(run, kind) for kind in ("sign", "prop")}
