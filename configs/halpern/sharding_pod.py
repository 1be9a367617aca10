"""Least squares with 2,000,000 rows in 1, 8 and 64 strata, seeds over a slice.

  python -m experiments.halpern.sharding --config=configs/halpern/sharding_pod.py --mesh=rep:-1
Expected: strata do no harm. Figure: halpern/fig_sharding. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.sharding", "seed": 0, "data": ""})
    c.problem = {
        "size": 2000 if quick else 2_000_000, "columns": 50, "strata": (1, 8) if quick else (1, 8, 64),
        "batch": 48 if quick else 1408,
    }  # fmt: skip
    c.algo = {}
    c.run = {
        "num_steps": 6 if quick else 64, "chunk": 1, "replicates": 4 if quick else 1024, "stride": 64,
        "devices": (1, 2) if quick else (1, 2, 4, 8),
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
