"""Tails of READ at depth 1, 32 seeds of 33 million replicates.

  python -m experiments.mlmc.tails --config=configs/mlmc/paper_tails.py          # half an hour on two CPU cores
Expected: at r = 0.74 a sample of 33 million still shows about 0.47 of the variance: that of levels up to 12.
Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.tails", "seed": 0, "data": ""})
    c.problem = {
        "walks": ("A1", "A3", "A3", "A4", "A4"),
        "rates": (0.74, 0.60, 0.70, 0.60, 0.64),
        "largest": 256 if quick else 8192,
    }
    c.algo = {"block": 4096 if quick else 65536}
    c.run = {"num_steps": 8 if quick else 512, "chunk": 1, "replicates": 4 if quick else 32}
    c.numerics = {"x64": False}
    return c
