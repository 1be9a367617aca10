"""Fresh collections of instances, and larger families. python -m experiments.sweep configs/regret/sweeps/bounds.py"""

CONFIG = "configs/regret/bounds.py"


def get_sweep(h):
    return h.product({"seed": range(1, 5), "problem.groups": (2, 8, 32)})
