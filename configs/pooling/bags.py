"""AUC of bags of 50 instances from four of each per step, by averaging weight; two poolings.

  python -m experiments.pooling.bags                                       # 40 s on two CPU cores
Expected: averaging with gamma = 0.3 comes close to full bags; no averaging does not.
Figure: pooling/fig_bags. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.bags", "seed": 0, "data": ""})
    c.problem = {"bags": 40 if quick else 200, "size": 20 if quick else 50, "dim": 10, "shift": 3.0, "most": 3}
    c.algo = {
        "bags": 4 if quick else 8,
        "instances": 4,
        "averagings": (1.0, 0.3) if quick else (1.0, 0.9, 0.3, 0.1),
        "hidden": 16,
        "temperature": 0.1,
        "dual_step": 0.1,
        "margin": 0.5,
        "learning_rate": 0.02,
        "momentum": 0.9,
    }
    c.run = {"num_steps": 40 if quick else 3000, "chunk": 20 if quick else 100, "replicates": 2 if quick else 4}
    c.numerics = {"x64": False}
    return c
