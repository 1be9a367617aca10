"""Bias of the smoothed maximum from minibatches of 200 scores, with and without averaging over visits.

  python -m experiments.pooling.running_max                                # 20 s on two CPU cores
Expected: with gamma = 0.1 the bias is a quarter or less of a minibatch's own, for every batch size.
Figure: pooling/fig_running_max. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.running_max", "seed": 0, "data": ""})
    c.problem = {"size": 50 if quick else 200, "deviation": 0.2}
    c.algo = {
        "temperature": 0.1,
        "batches": (2, 8) if quick else (2, 4, 8, 16),
        "averagings": (1.0, 0.1) if quick else (1.0, 0.3, 0.1),
    }
    c.run = {
        "num_steps": 48 if quick else 64,
        "chunk": 1,
        "replicates": 4 if quick else 8,
        "chains": 256 if quick else 512,
    }
    c.numerics = {"x64": True}
    return c
