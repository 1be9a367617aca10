"""Sweeps and time that every way of balancing a batch takes to small dual gaps."""

from experiments.balancing import panels_gap as panels

CONFIGS = ["configs/balancing/gap.py"]
PAPER_CONFIGS = ["configs/balancing/paper_gap.py"]

caption = (
    "Sweeps, each a routing of all tokens, and milliseconds of this machine to relative dual gaps of 1e-3 and 1e-5, of "
    "the slowest instance; inf where a run never gets there. Sinkhorn's iteration is looked at after powers of two."
)


def table(runs):
    (run,) = runs
    return panels.table(run)
