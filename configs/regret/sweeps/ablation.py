"""Fresh shuffles for the ablation. python -m experiments.sweep configs/regret/sweeps/ablation.py"""

CONFIG = "configs/regret/ablation.py"


def get_sweep(h):
    return h.product({"seed": range(4)})
