"""How much the ridge penalty of the group experts matters: medical costs, five penalties, both forecasters.

  python -m experiments.sweep configs/regret/sweeps/regularization.py --list
  python -m experiments.sweep configs/regret/sweeps/regularization.py | sh
Each of the ten points takes as long as configs/regret/medical.py.
"""

CONFIG = "configs/regret/medical.py"


def get_sweep(h):
    return h.product({"algo.forecaster": ("ridge", "vaw"), "algo.regularization": (0.01, 0.1, 1.0, 10.0, 100.0)})
