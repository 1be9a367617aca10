"""The law of the free set, exactly: marginals and negative dependence of every rule, and what the naive rule does."""

from experiments.lib import style
from experiments.matching import panels_law as panels

CONFIGS = ["configs/matching/law.py"]
PAPER_CONFIGS = ["configs/matching/paper_law.py"]

caption = (
    "What the guarantee rests on, by enumeration of all free sets. Left: largest error of P[i is free] = 1 − h(y), a "
    "point per random instance. Middle: largest violation of negative dependence over node sets and times. The rules "
    "with discards are exact to rounding; letting all proposers leave if and only if somebody arrives keeps the "
    "marginals and loses negative dependence. Right: by how much, for two nodes and one time."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, quantity in zip(axes[0], ("marginal", "dependence"), strict=False):
        panels.rules_panel(ax, run, quantity)
    axes[0, 0].set_title("largest error of a marginal")
    axes[0, 1].set_title("largest positive dependence")
    axes[0, 2].set_title("the naive rule, two nodes")
    panels.naive_map(fig, axes[0, 2], run)
    return fig


def claims(runs):
    (run,) = runs
    found = {"p_value": panels.least_p_value(run), "naive": panels.worst(run, "dependence", "naive")}
    for rule in panels.RULES:
        found[f"marginal/{rule}"] = panels.worst(run, "marginal", rule)
        if rule != "naive":
            found[f"dependence/{rule}"] = panels.worst(run, "dependence", rule)
    return found
