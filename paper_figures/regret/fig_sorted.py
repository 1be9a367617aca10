"""Drifting orders: cumulative loss of everybody when all red rounds come first, then all green ones."""

from experiments.lib import style
from paper_figures.regret import drifting

_ARGUMENTS = ("", ":min", ":max", ":dperm")
CONFIGS = [f"configs/regret/sorted.py{argument}" for argument in _ARGUMENTS]
PAPER_CONFIGS = [f"configs/regret/paper_sorted.py{argument}" for argument in _ARGUMENTS]

caption = (
    "Cumulative loss of everybody on the synthetic law sorted by color: all red rounds first, then all green. After "
    "the change one online ridge has to unlearn; the group learners switch to the experts of the groups that now come. "
    "Dashed and dotted: what the theorems allow the clipped methods."
)


def draw(runs):
    fig, axes = style.figure("text", 0.85, 2, 2)
    drifting.draw(fig, axes, runs)
    return fig


claims = drifting.claims
