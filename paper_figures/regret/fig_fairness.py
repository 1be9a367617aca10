"""Accuracy against the demographic-parity gap on Adult, and both as the rounds go by."""

from experiments.lib import style
from experiments.regret import panels_fairness as panels

CONFIGS = ["configs/regret/fairness.py"]
PAPER_CONFIGS = ["configs/regret/paper_fairness.py"]

caption = (
    "Online fair classification of Adult, one record at a time in file order. Left: accuracy against the "
    "demographic-parity gap between the sexes over all rounds; a point per strength of the penalty (written beside "
    "those of the forest), mean and 95 % interval over random starts. The dashed line mixes the unpenalised forest "
    "with the majority label. Right: gap and accuracy of the forest as the rounds go by. Parity between two classes is "
    "another goal than small regret on every group."
)

#: Strengths of the reference runs, as they stand in the claims' names.
REFERENCES = ("0", "0.1", "0.3", "1", "10")


def draw(runs):
    run = runs[0]
    fig, axes = style.figure("text", 0.5, 2, 2, width_ratios=(1.55, 1))
    grid = axes[0, 0].get_gridspec()
    for ax in axes[:, 0]:
        ax.remove()
    tradeoff = fig.add_subplot(grid[:, 0])
    panels.tradeoff_panel(tradeoff, run)
    panels.legend(tradeoff)
    panels.rounds_panel(axes[0, 1], run, "gap")
    panels.rounds_panel(axes[1, 1], run, "accuracy")
    panels.legend(axes[1, 1], fontsize=5.5)
    axes[0, 1].set_xlabel("")
    axes[0, 1].tick_params(labelbottom=False)
    return fig


def claims(runs):
    run = runs[0]
    found = {}
    for strength in REFERENCES:
        if strength in panels.strengths(run, "aranyani"):
            accuracy, gap = panels.at_strength(run, "aranyani", strength)
            found |= {f"accuracy_{strength}": accuracy, f"gap_{strength}": gap}
    return found
