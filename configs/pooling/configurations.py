"""Pooling configurations of a digits network alone and in mixtures of 1 and 4 supernets: 15 placements.

  python -m experiments.pooling.configurations                               # about a minute on two CPU cores
Expected: no ranking after so few steps. With --config.run.replicates=8, Kendall's tau with accuracies alone is -0.02
[-0.10, 0.06] for one supernet and 0.00 [-0.12, 0.11] for four; accuracies alone spread by 1.4 standard errors.
Figure: pooling/fig_configurations. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.configurations", "seed": 0, "data": ""})
    c.problem = {
        "instance_seed": 0,
        "blocks": 4 if quick else 7,
        "pools": 1 if quick else 2,
        "channels": 4 if quick else 8,
        "held": 64 if quick else 448,
    }
    c.algo = {
        "alone": 1 if quick else 6,
        "mixtures": (1, 2) if quick else (1, 4),
        "batch": 16 if quick else 32,
        "epoch": 4 if quick else 50,
        "learning_rate": (0.1, 0.001),
        "temperature": (1.0, 100.0),
    }
    c.run = {"num_steps": 16 if quick else 800, "chunk": 8 if quick else 100, "replicates": 2}
    c.numerics = {"x64": False}
    return c
