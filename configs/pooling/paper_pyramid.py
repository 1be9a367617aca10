"""Spatial pyramid against a global mean on digits of 8 to 24 pixels, trained on one or two sizes; eight seeds.

  python -m experiments.pooling.pyramid --config=configs/pooling/paper_pyramid.py          # 5 min on two CPU cores
Expected, per cent at 12, 16, 20, 24 pixels (a prototype): pyramid trained on 16 91.5, 98.2, 93.8, 95.8; on 12 and 24
95.1, 96.3, 93.8, 94.6; the mean 63 down to 39. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.pyramid", "seed": 0, "data": ""})
    c.problem = {"sizes": (8, 12) if quick else (8, 12, 16, 20, 24)}
    c.algo = {
        "rows": ("pyramid 8", "mean 8") if quick else ("pyramid 16", "pyramid 12 24", "mean 16", "mean 12 24"),
        "learning_rate": 0.005,
    }
    c.run = {
        "num_steps": 1 if quick else 10, "chunk": 1, "replicates": 2 if quick else 8, "train": 200 if quick else 1200,
        "test": 100 if quick else 597, "batch": 50,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
