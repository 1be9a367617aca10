"""Aggregates of 15 workers' vectors of which f are sent by an adversary, three attacks.

  python -m experiments.pooling.byzantine                                  # 15 s on two CPU cores
Expected: the geometric median stays within its limit; the mean is off by its whole length and more.
Figure: pooling/fig_byzantine. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.byzantine", "seed": 0, "data": ""})
    c.problem = {
        "workers": 15,
        "size": 20 if quick else 100,
        "noise": 0.5,
        "random": 10.0,
        "flip": 5.0,
        "together": 10.0,
    }
    c.algo = {"rank": 8}
    c.run = {"num_steps": 8, "chunk": 1, "replicates": 4 if quick else 20}
    c.numerics = {"x64": True}
    return c
