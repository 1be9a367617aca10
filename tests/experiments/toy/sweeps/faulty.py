"""Six points: the second is not finite, the fifth raises, the sixth asks for more memory than can be addressed."""

CONFIG = "tests/experiments/toy/configs/walk.py"


def get_sweep(h):
    points = {"problem.drift": (0.1, 3e38, 0.2, 0.3, 0.4, 0.5), "problem.dim": (4, 4, 4, 4, -1, 2**50)}
    return h.product(h.zipped(points), {"run.num_steps": (16,)})
