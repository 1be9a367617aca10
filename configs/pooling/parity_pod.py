"""Parity and second minimum on a slice: 256 seeds, sets of 2 to 64, tested on up to 4,096.

  python -m experiments.pooling.parity --config=configs/pooling/parity_pod.py --mesh=rep:-1
Expected: as configs/pooling/paper_parity.py, with narrower intervals. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("sum", "mean", "max", "GRU", "LCM", "conjugated sum", "tables", "tropical", "tables and tropical")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.parity", "seed": 0, "data": ""})
    c.problem = {"smallest": 2, "largest": 4 if quick else 64}
    c.algo = {
        "methods": ("LCM", "tables and tropical") if quick else METHODS,
        "sizes": {
            "levels": 8, "width": 16 if quick else 128, "tables": 4 if quick else 32, "states": 2 if quick else 8,
            "channels": 16 if quick else 128,
        },
        "batch": 64 if quick else 256, "learning_rate": 3e-3, "clip": 1.0, "penalty": 0.0,
    }  # fmt: skip
    c.run = {
        "num_steps": 20 if quick else 10_000, "chunk": 10 if quick else 500, "replicates": 2 if quick else 256,
        "sizes": (4, 8) if quick else (64, 256, 1024, 4096), "sets": 64 if quick else 512,
        "far": 64 if quick else 65_536, "far_sets": 32, "far_methods": METHODS,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
