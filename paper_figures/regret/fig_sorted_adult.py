"""Drifting orders: loss of everybody when UCI Adult comes sorted by age."""

from experiments.lib import style
from paper_figures.regret import drifting

_ARGUMENTS = (":adult", ":adult_descending")
CONFIGS = [f"configs/regret/sorted.py{argument}" for argument in _ARGUMENTS]
PAPER_CONFIGS = [f"configs/regret/paper_sorted.py{argument}" for argument in _ARGUMENTS]

caption = (
    "Loss of everybody minus that of one online ridge, UCI Adult sorted by age in either direction. The group learners "
    "keep what they learnt about each age group."
)


def draw(runs):
    fig, axes = style.figure("text", 0.55, 1, 2)
    drifting.draw(fig, axes, runs)
    return fig


claims = drifting.claims
