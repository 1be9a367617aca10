"""The dual value under bias updates of fixed scores: its course, when it falls, and the identity behind that."""

from experiments.balancing import panels_lagrangian as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/lagrangian.py"]
PAPER_CONFIGS = ["configs/balancing/paper_lagrangian.py"]

caption = (
    "Fixed scores, float64. Left: least D(p) so far less the optimum of the linear program, per token, mean over "
    "instances. Constant steps of either rule stop at a distance, steps that shrink go on. Middle: every update of the "
    "sign rule. What tokens gain by choosing anew, over what would leave D as it is, decides: D falls left of 1 "
    "and rises right of it. All points lie on the line of the identity. Right: error of the identity, largest over "
    "instances."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 3)
    panels.gap_panel(axes[0, 0], run)
    panels.condition_panel(axes[0, 1], run, "sign")
    panels.error_panel(axes[0, 2], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "identity": panels.largest_error(run),
        "condition": panels.misjudged(run),
        "ahead": panels.violated(run, "ahead"),
        "loss": panels.violated(run, "loss"),
        "certificate": panels.certificate(run),
        "balanced": panels.balanced_steps(run),
    }
