"""The ablation's numbers: loss of everybody, paired difference to the default, worst regret of a group."""

from experiments.regret import panels_ablation as panels

CONFIGS = ["configs/regret/ablation.py"]
PAPER_CONFIGS = ["configs/regret/paper_ablation.py"]

caption = "One choice of the group learner changed at a time, medical costs."


def table(runs):
    (run,) = runs
    return panels.table(run)


def claims(runs):
    """Those of the figure; a table beside it makes none of its own."""
    del runs
    return {}
