"""MaxVio of batches once biases have settled, and the floor that sampling sets."""

from experiments.balancing import panels_floor as panels
from experiments.balancing import panels_rules
from experiments.lib import style

CONFIGS = ["configs/balancing/floor.py"]
PAPER_CONFIGS = ["configs/balancing/paper_floor.py"]

caption = (
    "MaxVio of a batch of fresh normal scores, second half of the run, mean and 95 % interval over seeds. No rule that "
    "cannot see the batch is below the floor. Left: independent tokens. Middle: groups of neighbours share a part of "
    "their scores, as tokens of a sequence do; the floor is that of fewer tokens, T_eff, measured from the loads "
    "(dotted). Right: MaxVio over the floor of its own kind of tokens; dashed for groups."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.4, 1, 3)
    panels.floor_panel(axes[0, 0], run, "violation")
    panels.floor_panel(axes[0, 1], run, "clustered")
    panels.ratio_panel(axes[0, 2], run)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {"effective": panels.effective_share(run)}
    for _, row in panels_rules.places(run):
        name = " ".join(row.split()[:2])
        found |= {name: panels.above_floor(run, row), f"clustered/{name}": panels.above_floor(run, row, "clustered")}
    return found
