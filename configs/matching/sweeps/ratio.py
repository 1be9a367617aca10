"""Shares of the philosopher as arrivals become few or many for the same ten nodes, each on two draws of instances.

  python -m experiments.sweep configs/matching/sweeps/ratio.py --list
  python -m experiments.sweep configs/matching/sweeps/ratio.py | sh
Half a minute to two minutes a point on two CPU cores; with ten nodes all values are exact.
"""

CONFIG = "configs/matching/ratio.py"

FAMILIES = (("er", 0.5), ("ba", 4), ("geom", 0.25), ("vertex", 0.5))


def get_sweep(h):
    cases = (tuple((*family, 10, steps) for family in FAMILIES) for steps in (10, 20, 40, 80))
    return h.product({"problem.cases": cases, "run.num_steps": (len(FAMILIES),), "seed": range(2)})
