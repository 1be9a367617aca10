"""Bias of the smoothed maximum from minibatches, against its proven limit."""

from experiments.lib import style
from experiments.pooling import panels_running_max as panels

CONFIGS = ["configs/pooling/running_max.py"]
PAPER_CONFIGS = ["configs/pooling/paper_running_max.py"]

caption = (
    "Smoothed maximum τ log mean exp(s/τ) of a bag of fixed scores from B of them per visit. Left: bias against "
    "visits, mean and 95 % interval over bags; averages that start from 0 dotted: they begin low by τ log γ and "
    "forget that slowly. Right: bias after all visits against B, the first term of its expansion (thin) and the "
    "proven limit (dashed). Every bias is negative, as Jensen's inequality says; averaging over visits divides "
    "its first term by 2/γ − 1."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.course_panel(axes[0, 0], run, run.config.algo.batches[0])
    panels.batch_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6, loc="lower right")
    axes[0, 1].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "ratio": panels.ratio(run, 0.1), "sign": panels.sign(run), "bound_share": panels.bound_share(run),
        "first_visit": panels.first_visit_gain(run, 0.1),
    }  # fmt: skip
