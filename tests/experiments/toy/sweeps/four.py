"""Four points, for processes of their own."""

CONFIG = "tests/experiments/toy/configs/walk.py"


def get_sweep(h):
    return h.product({"seed": range(4)}, {"run.num_steps": (16,)}, {"run.replicates": (1024,)})
