"""Medical costs: regret of each of the twelve groups against its rounds, like the panels of `acharya:24`."""

from experiments.regret import panels
from experiments.regret import panels_numbers as numbers

CONFIGS = ["configs/regret/medical.py"]
PAPER_CONFIGS = ["configs/regret/paper_medical.py"]

caption = (
    "Regret of every group on the medical costs data (1,338 people) against the best linear predictor of the same "
    "rounds. One online ridge for everybody keeps paying in the groups; a group learner does not, and in six of them "
    "its loss falls below that of the best linear predictor. Dashed and dotted: what the theorems allow the clipped "
    "methods. The paper's own method does not clip and is outside their assumptions."
)


def draw(runs):
    return panels.regret_grid(runs[0], 4)


def claims(runs):
    return numbers.bound_claims(runs)
