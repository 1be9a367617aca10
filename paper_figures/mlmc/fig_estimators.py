"""What the estimators cost at the same error: single term, coupled and block sums, nets of leaves, at one nesting."""

from experiments.lib import style
from experiments.mlmc import panels_work as panels

NAMES = ("A1", "A2", "A3")
CONFIGS = [f"configs/mlmc/work.py:{name}" for name in NAMES]
PAPER_CONFIGS = [f"configs/mlmc/paper_work.py:{name}" for name in NAMES]

caption = (
    "Variance of a replicate times its expected leaves, against r, on problems A1 (square), A2 (exponential) and A3 "
    "(sine); mean and 95 % interval over independent sets of replicates. Dashed: closed form of the single term. "
    "Block sums use the same samples again, at more evaluations of the link; randomised nets replace the random "
    "leaves, and allow for larger r."
)


def draw(runs):
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, run in zip(axes[0], runs, strict=True):
        panels.curves_panel(ax, run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=6)
    return fig


def claims(runs):
    found = {}
    for name, run in zip(NAMES, runs, strict=True):
        found |= {
            f"{method}/{name}": panels.gain(run, method) for method in run.config.algo.methods if method != "single"
        }
        found[f"single/{name}"] = panels.best(run, "single")[1]
        found[f"z/{name}"] = panels.largest_z(run)
    return found
