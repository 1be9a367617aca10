"""Applications: estimates beside exact values and rules by regression, what one percent costs, and a jump."""

from experiments.lib import style
from experiments.mlmc import panels_applications as panels

CONFIGS = ["configs/mlmc/applications.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_applications.py"]

caption = (
    "Left: READ's estimates relative to the exact value, with 95 % intervals from independent blocks, and what a rule "
    "found by regression is worth on fresh paths; the put on the arithmetic mean of five assets has no exact value and "
    "is drawn relative to its rule, a lower bound. Middle: leaves for a standard error of one percent; maxima within "
    "maxima are dear, and their replicates have no fourth moment. Right: the probability of a loss, whose link jumps: "
    "variances of levels fall slower than their cost grows, READ refuses it, and fixed levels are used instead."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 3)
    panels.estimates_panel(axes[0, 0], run)
    panels.cost_panel(axes[0, 1], run)
    axes[0, 1].set_yticks(range(len(run.config.cases)), [])
    panels.levels_panel(axes[0, 2], run)
    return fig


def claims(runs):
    (run,) = runs
    found = {}
    for case in run.config.cases:
        score = panels.score(run, case)
        if score is not None:
            found[f"score/{case}"] = score
        if f"rule/{case}" in run.results:
            found[f"rule/{case}"] = panels.excess_of_rule(run, case)
    value, error, count = panels.estimate(run, "basket")
    found["basket"] = panels.Measured(value, value - 1.96 * error, value + 1.96 * error, count)
    return found | {"loss/error": panels.multilevel_error(run, "loss"), "loss/rate": panels.rate(run, "loss")}
