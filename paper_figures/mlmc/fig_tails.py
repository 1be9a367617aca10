"""What heavy tails hide: sample variances, running means and tail indices of READ at depth 1."""

from experiments.lib import style
from experiments.mlmc import panels_tails as panels

CONFIGS = ["configs/mlmc/tails.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_tails.py"]

caption = (
    "READ at depth 1 under the square, the sine, and the kink max(z, 0). Left: sample variance over the true one, "
    "median and range over seeds; dashed, the part that levels drawn once on average make up. At r = 0.74 a million "
    "replicates show less than half of the variance, or, rarely, far too much. Middle: running means in units of the "
    "true standard error, one seed with its own 95 % band. Rare levels pull downwards on the square, so that most "
    "estimates lie above the truth. Right: Hill's tail index against the share of replicates it is taken from, with "
    "95 % intervals; dashed, the number p_0 of finite moments of the moment profile."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.5, 1, 3)
    panels.variance_panel(axes[0, 0], run)
    panels.running_panel(axes[0, 1], run, panels.heaviest(run))
    panels.index_panel(axes[0, 2], run)
    for ax, title in zip(axes[0], ("sample variance", "running mean", "tail index"), strict=True):
        ax.set_title(title)
        ax.legend(fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    found, heaviest = {}, panels.heaviest(run)
    for case, (walk, rate, _) in enumerate(panels.names(run)):
        name = f"{walk}/{round(100 * rate)}"
        found[f"index/{name}"] = panels.tail_index(run, case)
        if not run.results["kink"][case]:
            found[f"unseen/{name}"] = panels.unseen(run, case)
    found["shown"] = panels.shown(run, heaviest)
    found["variance"] = panels.true_variance(run, heaviest)
    found["sample_variance"] = panels.sample_variance(run, heaviest)
    found["coverage"] = panels.coverage(run, heaviest)
    return found
