"""Whether weight sharing ranks pooling configurations as training them alone does."""

from experiments.lib import style
from experiments.pooling import panels_configurations as panels

CONFIGS = ["configs/pooling/configurations.py"]
PAPER_CONFIGS = ["configs/pooling/paper_configurations.py"]

caption = (
    "Placements of 2 × 2 max-pools in a convolutional network for handwritten digits. Left: accuracy on "
    "validation batches against steps, mean and 95 % interval over seeds. Middle: validation accuracy of each "
    "placement in the mixture against that of a network trained for it alone; means over seeds. Right: Kendall's "
    "τ between the two rankings by number of supernets M, mean and 95 % interval over seeds."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 3)
    panels.course_panel(axes[0, 0], run)
    panels.scatter_panel(axes[0, 1], run)
    panels.agreement_panel(axes[0, 2], run)
    for ax in axes[0]:
        ax.legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    few, more = run.config.algo.mixtures[0], run.config.algo.mixtures[-1]
    found = {"one": panels.agreement(run, few), "spread": panels.spread(run)}
    if 4 in run.config.algo.mixtures:
        found |= {"four": panels.agreement(run, 4), "change": panels.change(run, 4, few)}
    return found | {"picked": panels.picked(run, more)}
