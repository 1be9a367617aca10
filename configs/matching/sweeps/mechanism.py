"""How many rollouts a price needs as markets grow. python -m experiments.sweep configs/matching/sweeps/mechanism.py

Eight points; each of those with four nodes takes half as long as configs/matching/mechanism.py, with eight four times.
"""

CONFIG = "configs/matching/mechanism.py"

FAMILIES = (("er", 0.5), ("geom", 0.25), ("vertex", 0.5))


def get_sweep(h):
    cases = (tuple((*family, n, 2 * n) for family in FAMILIES) for n in (4, 8))
    return h.product(
        {"problem.cases": cases, "run.num_steps": (len(FAMILIES),), "algo.rollouts": ((4, 16), (64, 256))},
        {"seed": range(2)},
    )
