"""Other laws and lambdas on the synthetic families. python -m experiments.sweep configs/regret/sweeps/groups.py"""

CONFIG = "configs/regret/groups.py:coded_law"


def get_sweep(h):
    return h.product({"problem.law_seed": range(21, 25), "algo.regularization": (0.1, 1.0, 10.0)})
