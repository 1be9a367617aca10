"""Parity and second minimum: nine aggregations, 1,200 steps, four seeds.

  python -m experiments.pooling.parity --config=configs/pooling/paper_parity.py           # 15 min on two CPU cores
Expected: as the default config; the conjugated sum does what a sum does, tables alone answer parity, tropical
polynomials alone the second minimum, both together both. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("sum", "mean", "max", "GRU", "LCM", "conjugated sum", "tables", "tropical", "tables and tropical")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.parity", "seed": 0, "data": ""})
    c.problem = {"smallest": 2, "largest": 4 if quick else 16}
    c.algo = {
        "methods": METHODS,
        "sizes": {
            "levels": 8, "width": 16 if quick else 32, "tables": 4 if quick else 8, "states": 2 if quick else 4,
            "channels": 16 if quick else 32,
        },
        "batch": 64, "learning_rate": 3e-3, "clip": 1.0, "penalty": 0.0,
    }  # fmt: skip
    c.run = {
        "num_steps": 100 if quick else 1200, "chunk": 50 if quick else 100, "replicates": 2 if quick else 4,
        "sizes": (4, 8, 16, 32) if quick else (8, 16, 32, 64, 128, 256), "sets": 64 if quick else 512,
        "far": 128 if quick else 10_000, "far_sets": 32 if quick else 128,
        "far_methods": METHODS,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
