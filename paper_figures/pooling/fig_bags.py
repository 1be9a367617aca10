"""Area under the ROC curve of bags, learned from a few instances of each."""

from experiments.lib import style
from experiments.pooling import panels_bags as panels

CONFIGS = ["configs/pooling/bags.py"]
PAPER_CONFIGS = ["configs/pooling/paper_bags.py"]

caption = (
    "Multi-instance AUC: positive bags hold one to three instances that are moved along a hidden direction. A "
    "step sees four instances of each of its bags; scores of bags are averaged over visits with weight γ, where "
    "γ = 1 forgets. Left and middle: AUC on full test bags against steps, mean and 95 % interval over seeds. "
    "Right: after all steps against γ; full bags dashed. Small γ averages estimates of models that are long "
    "gone."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 3)
    panels.course_panel(axes[0, 0], run, "smoothed maximum")
    panels.course_panel(axes[0, 1], run, "attention")
    panels.weight_panel(axes[0, 2], run)
    for ax in axes[0]:
        ax.legend(fontsize=6, loc="lower right")
    return fig


def claims(runs):
    (run,) = runs
    few, full = "smoothed maximum, γ = 0.3", "smoothed maximum, full bags"
    return {
        "full_less_averaged": panels.difference(run, full, few),
        "averaged_less_alone": panels.difference(run, few, "smoothed maximum, γ = 1"),
        "attention_averaged_less_alone": panels.difference(run, "attention, γ = 0.3", "attention, γ = 1"),
    }
