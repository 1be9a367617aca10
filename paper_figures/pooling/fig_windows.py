"""Gradients of poset filters, and how far soft maxima stay below the maximum."""

from experiments.lib import style
from experiments.pooling import panels_windows as panels

CONFIGS = ["configs/pooling/windows.py"]
PAPER_CONFIGS = ["configs/pooling/paper_windows.py"]

#: T7: distinct gradients of a window, the filters of each poset; one element for the maximum, all for the average.
PATTERNS = (9, 16, 12, 6, 10, 10, 9, 6, 8, 9, 7, 7, 8, 5, 6, 7)

caption = (
    "Top: 2 x 2 windows of N(0, 1) elements. Left: elements that get a gradient, by poset, for the maximum and for the "
    "average, mean and 95 % interval over streams. Right: share of windows that get none against the number of "
    "distinct patterns seen, which is the number of filters. Bottom: the largest distance below the maximum over "
    "random windows of n elements, the bounds (dashed), and the windows that attain or approach them."
)


def draw(runs):
    (run,) = runs
    fig = style.figure("text", 0.7, 1, 1)[0]
    fig.clear()
    grid = fig.add_gridspec(2, 6)
    panels.updated_panel(fig.add_subplot(grid[0, :4]), run)
    panels.none_panel(fig.add_subplot(grid[0, 4:]), run)
    for place, kind in enumerate(panels.KINDS):
        ax = fig.add_subplot(grid[1, 2 * place : 2 * place + 2])
        panels.gap_panel(ax, run, kind)
        if not place:
            ax.legend(fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    expected = {f"poset {number}": count for number, count in enumerate(PATTERNS)} | {"max": 4, "avg": 1}
    of_posets = panels.updated(run)[:, :16].mean(axis=0)
    found = {
        "patterns": panels.missing_patterns(run, expected),
        "updated/least": panels.without_interval(of_posets.min(), run.config.run.replicates),
        "updated/most": panels.without_interval(of_posets.max(), run.config.run.replicates),
        "none/antichain": panels.none(run, "poset 1"),
        "none/chain": panels.none(run, "poset 13"),
    }
    found |= {f"within/{kind}": panels.largest_share(run, kind) for kind in panels.KINDS}
    return found | {f"attained/{kind}": panels.worst_share(run, kind) for kind in panels.KINDS}
