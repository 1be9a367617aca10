"""What marked nodes tell apart: the atlas of graphs, three hard pairs, and sampling of tuples."""

from experiments.lib import style
from experiments.pooling import panels_ladder as panels

CONFIGS = ["configs/pooling/ladder.py"]
PAPER_CONFIGS = ["configs/pooling/paper_ladder.py"]

caption = (
    "Left: pairs of graphs of the atlas with the same fingerprint, though none are isomorphic. Middle: relative gap of "
    "a random network's mean over all marked copies on pairs that colour refinement cannot tell apart; dotted, the "
    "spacing of floating-point numbers. Right: random tuples of two marks on the hardest "
    "pair: how often they miss the difference, with the prediction, and the error of the sampled mean. Geometric mean "
    "and 95 % interval over seeds."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.36, 1, 3)
    panels.unresolved_panel(axes[0, 0], run)
    panels.gap_panel(axes[0, 1], run)
    panels.missed_panel(axes[0, 2], run)
    axes[0, 1].legend(fontsize=5)
    axes[0, 2].legend(fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "falls": panels.steps_down(run), "left": panels.unresolved(run, run.config.problem.marks),
        "rungs": panels.rungs(run), "gap/apart": panels.gaps(run, True), "gap/alike": panels.gaps(run, False),
        "missed": panels.missed_difference(run), "slope": panels.error_slope(run),
    }  # fmt: skip
