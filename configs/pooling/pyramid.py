"""Spatial pyramid against a global mean on digits of 8 to 24 pixels, trained on one or two sizes; three seeds.

  python -m experiments.pooling.pyramid                                         # 50 s on two CPU cores
Expected: with the pyramid trained on 12 and 24 pixels, at least 90 % on every size from 12 on; the mean far below.
Figure: pooling/fig_pyramid. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.pyramid", "seed": 0, "data": ""})
    c.problem = {"sizes": (8, 12) if quick else (8, 12, 16, 20, 24)}
    c.algo = {
        "rows": ("pyramid 8", "mean 8") if quick else ("pyramid 16", "pyramid 12 24", "mean 12 24"),
        "learning_rate": 0.005,
    }
    c.run = {
        "num_steps": 1 if quick else 6, "chunk": 1, "replicates": 2 if quick else 3, "train": 200 if quick else 1200,
        "test": 100 if quick else 597, "batch": 50,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
