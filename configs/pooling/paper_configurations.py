"""Pooling configurations of a digits network alone and in mixtures of up to eight supernets, 4,000 steps each alone.

  python -m experiments.pooling.configurations --config=configs/pooling/paper_configurations.py
Expected: rankings of mixtures agree more with accuracies alone the more supernets there are.
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
        "channels": 4 if quick else 16,
        "held": 64 if quick else 898,
    }
    c.algo = {
        "alone": 1 if quick else 4,
        "mixtures": (1, 2) if quick else (1, 2, 4, 8),
        "batch": 16 if quick else 64,
        "epoch": 4 if quick else 100,
        "learning_rate": (0.1, 0.001),
        "temperature": (1.0, 100.0),
    }
    c.run = {"num_steps": 16 if quick else 15000, "chunk": 8 if quick else 1000, "replicates": 2 if quick else 8}
    c.numerics = {"x64": False}
    return c
