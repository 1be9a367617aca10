"""Least squares with 20,000 rows in 1, 8 and 64 strata, and over 1, 2, 4 and 8 CPU devices.

  python -m experiments.halpern.sharding                                     # 40 s on two CPU cores
Expected: strata do no harm, and devices change roundings only. Figure: halpern/fig_sharding. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.sharding", "seed": 0, "data": ""})
    c.problem = {
        "size": 2000 if quick else 20_000, "columns": 50, "strata": (1, 8) if quick else (1, 8, 64),
        "batch": 48 if quick else 128,
    }  # fmt: skip
    c.algo = {}
    c.run = {
        "num_steps": 6 if quick else 24, "chunk": 1, "replicates": 4 if quick else 8, "stride": 64,
        "devices": (1, 2) if quick else (1, 2, 4, 8),
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
