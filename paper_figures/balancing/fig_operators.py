"""Every router on the same logits: how balanced, and at what loss of score."""

from experiments.balancing import panels_operators as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/operators.py"]
PAPER_CONFIGS = ["configs/balancing/paper_operators.py"]

caption = (
    "Routers on the logits of a small next-byte model that was trained without balancing, 16 experts, two per token; "
    "biases have followed the training from outside. Left: MaxVio of one fresh batch, relative to the mean load after "
    "drops, mean and 95 % interval over seeds. Right: the total score of the chosen experts over the optimum with "
    "equal loads, where it compares; uneven loads may exceed it, drops and detours fall short."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.6, 1, 2)
    panels.balance_panel(axes[0, 0], run)
    panels.trade_panel(axes[0, 1], run)
    axes[0, 1].legend(fontsize=6, loc="upper left")
    return fig


def claims(runs):
    (run,) = runs
    return panels.claims(run)
