"""Learned norms and DeepSets on sets of 5 to 15 numbers, tested on 200 numbers twice as large, four replicates.

  python -m experiments.pooling.law                                            # 40 s on two CPU cores
Figure: pooling/fig_law. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.law", "seed": 0})
    c.problem = {"low": 5, "high": 15, "far": 200, "test": 32 if quick else 256}
    c.algo = {"batch": 64, "learning_rate": 5e-2, "hidden": 8, "sets_batch": 32, "sets_rate": 1e-2}
    c.run = {"num_steps": 100 if quick else 3000, "chunk": 50, "replicates": 2 if quick else 4}
    return c
