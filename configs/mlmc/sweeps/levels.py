"""READ on E1 over r_0 and r_1 that sum the same, five seeds each: what the choice of r costs.

python -m experiments.sweep configs/mlmc/sweeps/levels.py
"""

CONFIG = "configs/mlmc/published.py"


def get_sweep(h):
    return h.product({"seed": range(5), "algo.r": ((0.62, 0.58), (0.66, 0.58), (0.7, 0.58), (0.74, 0.6))})
