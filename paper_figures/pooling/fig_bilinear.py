"""What low-rank bilinear pooling can express: random sets of triples, by construction and by learning."""

from experiments.lib import style
from experiments.pooling import panels_bilinear as panels

CONFIGS = ["configs/pooling/bilinear.py"]
PAPER_CONFIGS = ["configs/pooling/paper_bilinear.py"]

caption = (
    "Random sets of true triples over up to five entities and three relations, one-hot embeddings. Left: lowest "
    "score of a true triple less the highest of a false one, by the construction of full rank, by that of the "
    "least rank that suffices, and after normalisation. Middle: squared error of learned factors above the least "
    "that rank k allows, median and worst set (dotted). Right: share of sets that scores separate, by rank; "
    "separating needs less rank than exact scores."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 3)
    panels.margin_panel(axes[0, 0], run)
    panels.excess_panel(axes[0, 1], run)
    panels.separated_panel(axes[0, 2], run)
    for ax in axes[0]:
        ax.legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "constructed": panels.inexact(run, "constructed"), "frugal": panels.inexact(run, "frugal"),
        "normalised": panels.least(run, "normalised"), "rank": panels.unneeded(run), "learned": panels.learned(run),
    }  # fmt: skip
