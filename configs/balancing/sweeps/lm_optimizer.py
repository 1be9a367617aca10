"""Does the order of ways of balancing depend on the learning rate? Three rates by three seeds.

  python -m experiments.sweep configs/balancing/sweeps/lm_optimizer.py

Each of the nine points takes as long as configs/balancing/lm_schedules.py.
"""

CONFIG = "configs/balancing/lm_schedules.py"


def get_sweep(h):
    return h.product({"algo.optimizer.learning_rate": (1e-3, 3e-3, 1e-2), "seed": range(3)})
