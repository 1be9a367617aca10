"""Medical costs: all groups in one panel per method, after the introductory figure of `acharya:24`."""

from experiments.lib import style
from experiments.lib.tables import measured
from experiments.regret import panels
from experiments.regret import panels_numbers as numbers

CONFIGS = ["configs/regret/medical.py"]
PAPER_CONFIGS = ["configs/regret/paper_medical.py"]

HIGHLIGHTED = {
    "smoker": style.PALETTE["vermilion"], "obese": style.PALETTE["orange"], "non-smoker": style.PALETTE["green"],
    "young": style.PALETTE["purple"], "male": style.PALETTE["sky"], "always_on": style.PALETTE["black"],
}  # fmt: skip
METHODS = {"baseline": "one online ridge", "anh": "ANH (the paper's)", "aa": "specialist AA (ours)"}

caption = (
    "Regret of twelve groups on the medical costs data, against the fraction of the group's "
    "rounds. Left: one online ridge for everybody, whose regret grows linearly in the groups that it does not serve "
    "(starred). Middle and right: one expert per group under an aggregator."
)


def draw(runs):
    fig, axes = style.figure("text", 0.42, 1, len(METHODS), sharey=True)
    for ax, (method, title) in zip(axes[0], METHODS.items(), strict=True):
        panels.fraction_panel(ax, runs[0], method, HIGHLIGHTED, marker="*" if method == "baseline" else "")
        ax.set_title(title)
    axes[0, 0].set_ylabel(f"regret (squared loss), mean of {runs[0].config.run.replicates} shuffles")
    panels.name_lines(axes[0, -1], HIGHLIGHTED)
    return fig


def claims(runs):
    (run,) = runs
    worst = run.axes["group"].index("smoker")
    return {
        "baseline_worst": measured(numbers.paper_regret(run, "baseline")[:, worst]),
        "anh_worst": measured(numbers.paper_regret(run, "anh")[:, worst]),
    }
