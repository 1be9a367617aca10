"""UCI Adult: regret of each of the thirteen groups against its rounds."""

from experiments.regret import panels
from experiments.regret import panels_numbers as numbers

CONFIGS = ["configs/regret/adult.py"]
PAPER_CONFIGS = ["configs/regret/paper_adult.py"]

caption = (
    "Regret of every group on UCI Adult (48,842 people) against the best linear predictor of the same rounds. "
    "Negative regret: the group learner's loss is below that of any single linear predictor of the group. Dashed and "
    "dotted: what the theorems allow the clipped methods. The paper's own method does not clip and is outside their "
    "assumptions."
)


def draw(runs):
    return panels.regret_grid(runs[0], 5)


def claims(runs):
    return numbers.bound_claims(runs)
