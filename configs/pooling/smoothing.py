"""Accuracy after up to 32 steps of smoothing, from the last layer and from the history, three seeds.

  python -m experiments.pooling.smoothing                                    # 40 s on two CPU cores
Expected: the last layer falls below 85 % from four steps on, the history and the trained operator stay above 97 %.
Figure: pooling/fig_smoothing. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.smoothing", "seed": 0, "data": ""})
    c.problem = {
        "nodes": 40, "inside": 0.5, "across": 0.05, "correlation": 0.7, "train": 400 if quick else 800,
        "test": 400 if quick else 400, "depths": (1, 8) if quick else (1, 2, 4, 8, 16, 32),
        "trained": (8,) if quick else (8, 32), "layers": 9,
    }  # fmt: skip
    c.algo = {
        "features": 64, "ridge": 0.01, "channels": 16, "heads": 2, "steps": 100 if quick else 150, "batch": 64,
        "learning_rate": 0.01,
    }  # fmt: skip
    c.run = {"num_steps": 1, "chunk": 1, "replicates": 2 if quick else 3}
    c.numerics = {"x64": False}
    return c
