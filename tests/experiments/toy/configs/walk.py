"""Eight random walks: python tests/experiments/toy/walk.py"""

import ml_collections as mlc


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "toy.walk", "seed": 3})
    c.problem = {"dim": 4, "drift": 0.1, "breaks": -1, "breaks_at": 1}
    c.run = {"num_steps": 32 if arg == "quick" else 64, "chunk": 4, "replicates": 8}
    return c
