"""Learned norms and DeepSets on sets of 5 to 15 numbers, tested on 200 numbers twice as large, 256 replicates.

  python -m experiments.pooling.law --config=configs/pooling/law_pod.py --mesh=rep:-1
Expected: errors of sum, mean, l2 and sum/sqrt n below 0.01; (p, q) of l2 (2, 0), of sum/sqrt n (1, 0.5).
Figure: pooling/fig_law. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.law", "seed": 0})
    c.problem = {"low": 5, "high": 15, "far": 200, "test": 32 if quick else 1024}
    c.algo = {"batch": 64, "learning_rate": 5e-2, "hidden": 8, "sets_batch": 32, "sets_rate": 1e-2}
    c.run = {"num_steps": 100 if quick else 3000, "chunk": 50, "replicates": 2 if quick else 256}
    return c
