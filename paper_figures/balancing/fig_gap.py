"""Dual gap of a batch against sweeps and time: bias updates, the quantile dual, Sinkhorn's iteration, an LP."""

from experiments.balancing import panels_gap as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/gap.py"]
PAPER_CONFIGS = ["configs/balancing/paper_gap.py"]

caption = (
    "Balanced assignment of one batch of fixed scores: (D(p) − OPT) / OPT, geometric mean over instances, against "
    "sweeps, each of which routes all tokens once, and against time on this machine; gaps of 1e-3 and 1e-5 dashed. "
    "Constant bias updates stop at a distance that their step sets. Sinkhorn's potentials approach the entropic "
    "optimum, not the exact one. The quantile dual has no step size; its sweeps also look for order statistics of all "
    "columns, and take longer."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.55, 1, 2, sharey=True)
    panels.course_panel(axes[0, 0], run)
    panels.time_panel(axes[0, 1], run)
    axes[0, 1].set_ylabel("")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"quantile/{target:g}": panels.sweeps(run, "quantile", target) for target in (1e-3, 1e-5)}
    return found | {
        "agreement": panels.agreement(run),
        "program": panels.faster_than_program(run),
        "sinkhorn": panels.sinkhorn_left(run),
    }
