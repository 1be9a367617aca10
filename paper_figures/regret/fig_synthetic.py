"""Synthetic law: regret of the six groups against their rounds, a row for each of the four labels."""

from experiments.regret import panels
from experiments.regret import panels_numbers as numbers

_ARGUMENTS = ("", ":min", ":max", ":dperm")
CONFIGS = [f"configs/regret/synthetic.py{argument}" for argument in _ARGUMENTS]
PAPER_CONFIGS = [f"configs/regret/paper_synthetic.py{argument}" for argument in _ARGUMENTS]

caption = (
    "Regret of every group under the synthetic law against the best linear predictor of the same rounds, for the four "
    "ways in which the labels of shape and color make one label. One online ridge pays linearly in the groups; the "
    "group learners stay near zero or below. Dashed and dotted: what the theorems allow the clipped methods."
)


def draw(runs):
    return panels.regret_rows(runs, [run.config.problem.label for run in runs])


def claims(runs):
    return numbers.bound_claims(runs)
