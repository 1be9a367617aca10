"""Tails of READ at depth 1, 1024 seeds of 268 million replicates: levels up to 14 at r = 0.74.

  python -m experiments.mlmc.tails --config=configs/mlmc/tails_pod.py --mesh=rep:-1
Expected: tail indices within 0.01 of the moment profile. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.tails", "seed": 0, "data": ""})
    c.problem = {
        "walks": ("A1", "A3", "A3", "A4", "A4"),
        "rates": (0.74, 0.60, 0.70, 0.60, 0.64),
        "largest": 256 if quick else 16384,
    }
    c.algo = {"block": 4096 if quick else 262144}
    c.run = {"num_steps": 8 if quick else 1024, "chunk": 1, "replicates": 4 if quick else 1024}
    c.numerics = {"x64": False}
    return c
