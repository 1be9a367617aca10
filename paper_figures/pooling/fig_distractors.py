"""Whether pooling finds a relation of two tokens among distractors."""

from experiments.lib import style
from experiments.pooling import panels_distractors as panels

CONFIGS = ["configs/pooling/distractors.py"]
PAPER_CONFIGS = ["configs/pooling/paper_distractors.py"]

caption = (
    "Do the target and the modifier among distractors have the same topic? Test accuracy of poolings with the same "
    "head, by share of distractors (left), and over epochs at the largest share (right); mean and 95 % interval over "
    "seeds; dotted, chance. Only the pooling over the token graph compares tokens with each other."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.ratio_panel(axes[0, 0], run)
    panels.epochs_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    ratios = run.config.problem.ratios
    found = {f"graph/{100 * ratio:g}": panels.accuracy(run, "graph", ratio) for ratio in ratios}
    return found | {f"others/{100 * ratio:g}": panels.highest(run, ratio) for ratio in ratios}
