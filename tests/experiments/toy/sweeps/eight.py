"""Eight points, four batches of two."""

CONFIG = "tests/experiments/toy/configs/walk.py"


def get_sweep(h):
    lanes = {"problem.drift": (0.0, 0.2), "seed": range(4)}
    return h.product(lanes, {"run.num_steps": (16,)}, {"run.replicates": (1024,)})
