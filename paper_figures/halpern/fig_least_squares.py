"""Least squares: Algorithm 1 against forward-backward steps, its bound, and its slope under constraints."""

from experiments.halpern import panels_least_squares as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/least_squares.py", "configs/halpern/least_squares.py:box"]
PAPER_CONFIGS = ["configs/halpern/paper_least_squares.py", "configs/halpern/paper_least_squares.py:box"]

caption = (
    "Class A. Left: least squares with many rows, natural residual over epochs, geometric mean and 95 % interval over "
    "n seeds of the draws (what has no draws has no interval). Algorithm 1 pays for its first refreshes, then "
    "overtakes every method with full operators at the step that its certificate allows, and by far at four times "
    "that step, which nothing certifies. The bound is for the root mean square. Right: Algorithm 1 under box "
    "constraints, over iterations, with the slope of the later half: the bound's rate 1/k, and faster once the active "
    "constraints are found."
)


def draw(runs):
    free, box = runs
    fig, axes = style.figure("text", 0.5, 1, 2, width_ratios=(1.5, 1))
    panels.race_panel(axes[0, 0], free)
    panels.slope_panel(axes[0, 1], box)
    axes[0, 1].legend(fontsize=6)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    free, box = runs
    found = {f"end/{name}": panels.at_end(free, name) for name in free.config.algo.methods}
    return found | {"bound": panels.over_bound(free), "slope": panels.slope(box)}
