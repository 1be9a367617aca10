"""Share of S above the mean of V, fitted from S alone and from S and V, four replicates.

  python -m experiments.pooling.superset                                       # 20 s on two CPU cores
Expected: no model of S below its floor, near 0.02; S and V below half of it.
Figure: pooling/fig_superset. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.superset", "seed": 0})
    c.problem = {"size": 32, "share": 0.3, "spread": 1.0, "test": 256 if quick else 4096}
    c.algo = {"hidden": 16, "batch": 64, "learning_rate": 5e-3}
    c.run = {"num_steps": 100 if quick else 1500, "chunk": 25 if quick else 100, "replicates": 2 if quick else 4}
    return c
