"""Learned norms find the law of a pool, and extrapolate with it."""

from experiments.lib import style
from experiments.pooling import panels_law as panels

CONFIGS = ["configs/pooling/law.py"]
PAPER_CONFIGS = ["configs/pooling/paper_law.py"]

caption = (
    "A single learned norm per target, fitted on sets of 5 to 15 numbers. Left: (p, q) in the fit of one replicate; "
    "dots are the ends, crosses the laws (max and min lie at p = ±∞). Centre: relative error on 200 numbers twice as "
    "large. Right: the same error of DeepSets, by pool and target. Mean and 95 % interval over replicates."
)

#: Targets whose law is finite and single, in the order of the published row.
CLOSE = ("sum", "mean", "l2", "sum/sqrt n")


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 3)
    panels.path_panel(axes[0, 0], run)
    panels.error_panel(axes[0, 1], run)
    panels.sets_panel(axes[0, 2], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"error {law}": panels.error(run, law) for law in (*CLOSE, "harmonic", "max", "min")}
    for law in ("l2", "sum/sqrt n"):
        found |= {f"{name} {law}": panels.exponent(run, name, law) for name in ("p", "q")}
    return found | {"wrong pool": panels.sets_error(run, "sum", "mean")}
