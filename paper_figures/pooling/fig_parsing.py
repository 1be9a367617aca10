"""Rounds of graph parsing, and how many clusters each leaves, with the bounds."""

from experiments.lib import style
from experiments.pooling import panels_parsing as panels

CONFIGS = ["configs/pooling/parsing.py"]
PAPER_CONFIGS = ["configs/pooling/paper_parsing.py"]

caption = (
    "Graph parsing: rounds until nothing merges, by number of nodes. Left: scores kept, where the rounds are Borůvka's "
    "and find the maximum spanning forest; the slowest path attains the bound. Middle: scores of the pooled features. "
    "Right: clusters after each round at the largest size, scores kept; the random graph is not connected, and its "
    "isolated nodes stay. Mean and 95 % interval over seeds."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.36, 1, 3)
    panels.rounds_panel(axes[0, 0], run)
    panels.rounds_panel(axes[0, 1], run, "rescored")
    panels.clusters_panel(axes[0, 2], run)
    axes[0, 0].legend(fontsize=5)
    axes[0, 2].legend(fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "rounds": panels.most(run, "rounds"), "rescored": panels.most(run, "rescored"), "excess": panels.excess(run),
        "slowest": panels.slowest(run), "forest": panels.forest_error(run),
    }  # fmt: skip
