"""Every router on the same logits: balance of experts and devices, score, drops, experts in use, time."""

from experiments.balancing import panels_operators as panels

CONFIGS = ["configs/balancing/operators.py"]
PAPER_CONFIGS = ["configs/balancing/paper_operators.py"]

caption = (
    "Routers on the logits of a small next-byte model that was trained without balancing; one fresh batch per seed. "
    "Violations are relative to the mean load after drops, devices hold a quarter of the experts each; the value is "
    "the total score over the optimum with equal loads; experts in use are those that 16 neighbouring tokens need. "
    "Times are of one compiled routing on the machine of the run."
)


def table(runs):
    (run,) = runs
    return panels.table(run)._replace(caption=caption)


def claims(runs):
    (run,) = runs
    return panels.claims(run)
