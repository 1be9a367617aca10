"""The philosopher itself: what a set costs against n and the memory's speed, and where its value lies."""

from experiments.lib import style
from experiments.matching import panels_philosopher as panels

_SIZES = ("", ":12", ":16", ":20", ":22")
CONFIGS = [f"configs/matching/philosopher.py{size}" for size in _SIZES]
PAPER_CONFIGS = [f"configs/matching/paper_philosopher.py{size}" for size in (*_SIZES, ":24")]

caption = (
    "The best online policy by dynamic programming over all sets of free nodes, Erdős–Rényi instances of density 0.5, "
    "float32. Left: time per set and time of day after compilation, against the same recursion in NumPy on bit views, "
    "and what one pass over the values would take at the memory's speed, all measured in one run. Right: values over "
    "the certified dual bound of LP-OnOpt, a point for every instance; rounding and bid prices by simulation."
)


def draw(runs):
    fig, axes = style.figure("text", 0.44, 1, 2)
    panels.time_panel(axes[0, 0], runs)
    panels.share_panel(axes[0, 1], runs)
    for ax in axes.flat:
        ax.legend(fontsize=6)
    return fig


def claims(runs):
    found = {
        "below_lp": panels.widest(runs, "dual", "philosopher"),
        "rounding_below": panels.widest(runs, "philosopher", "rounding"),
        "bid_price_below": panels.widest(runs, "philosopher", "bid_price"),
    }
    for run, size in zip(runs, (*_SIZES, ":24"), strict=False):
        if size in (":12", ":16", ":20"):
            found[f"speedup/{size[1:]}"] = panels.speedup(run)
    return found
