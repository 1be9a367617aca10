"""Robust aggregates of workers' vectors under three attacks, against their limits."""

from experiments.lib import style
from experiments.pooling import panels_byzantine as panels

CONFIGS = ["configs/pooling/byzantine.py"]
PAPER_CONFIGS = ["configs/pooling/paper_byzantine.py"]

caption = (
    "Fifteen workers send a unit vector with noise; f of them send instead random vectors a hundred times as "
    "long, five times their vector with the other sign, or all the same vector of length ten. Upper row and "
    "lower left: distance of the aggregate from the truth, mean and 95 % interval over trials, with the limit of "
    "the geometric median (dashed), which holds for any attack. Lower right: 1 − cosine with the truth under "
    "sign flips, where the flag aggregator, which has no length of its own, compares. Equal vectors and flipped "
    "ones pull in one direction: they do more harm than longer ones that cancel each other."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.8, 2, 2)
    for ax, attack in zip(axes.flat, panels.ATTACKS, strict=False):
        panels.attack_panel(ax, run, attack)
    panels.attack_panel(axes[1, 1], run, "sign flip", "misaligned")
    named = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    named |= dict(zip(*reversed(axes[1, 1].get_legend_handles_labels()), strict=True))
    fig.legend(list(named.values()), list(named), loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "geometric": panels.at_most(run, "error", "geometric median", 5, ("random", "sign flip")),
        "mean": panels.least_damage(run, "mean"), "bound_share": panels.bound_share(run),
        "range_share": panels.range_share(run), "flag": panels.at_most(run, "misaligned", "flag", 7, ("random",)),
    }  # fmt: skip
