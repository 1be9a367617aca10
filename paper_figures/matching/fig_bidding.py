"""Coordinated bidding: what every client gains, how pacing settles, and what lies are worth."""

from experiments.lib import style
from experiments.matching import panels_bidding as panels

CONFIGS = ["configs/matching/bidding.py"]
PAPER_CONFIGS = ["configs/matching/paper_bidding.py"]

caption = (
    "Four clients of one agency in repeated second-price auctions with budgets (money per round). Left: utility "
    "under coordination over bidding alone on the same auctions, mean and 95 % interval over n draws; the books of "
    "the shadow rule make everybody better off on every path. Middle: pacing alone, and its fixed point. Right: the "
    "most that a client gains by scaling her reported values: lies pay a little, alone as well as coordinated."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.44, 1, 3)
    for ax, panel in zip(axes[0], (panels.gains_panel, panels.multiplier_panel, panels.lies_panel), strict=True):
        panel(ax, run)
        ax.legend(fontsize=5.5)
    axes[0, 1].legend(fontsize=5.5, ncols=2, loc="upper left")
    return fig


def claims(runs):
    (run,) = runs
    return {
        "shadow_least": panels.least_gain(run, "shadow"),
        "shadow_welfare": panels.welfare_ratio(run, "shadow"),
        "leader_welfare": panels.welfare_ratio(run, "leader"),
        "overspent": panels.overspent(run),
    }
