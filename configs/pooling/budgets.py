"""Scenes of nine digits told from 4, 9 or 36 visual tokens, the number drawn anew at every step, and from 16 unseen.

  python -m experiments.pooling.budgets                                         # 40 s on two CPU cores
  python -m experiments.pooling.budgets --config=configs/pooling/budgets.py:9   # trained on 9 tokens alone; or 4, 36
Expected: TODO
"""

import ml_collections as mlc

ARGS = ("quick", "4", "9", "36")


def get_config(arg=""):
    words = [word for word in arg.split(",") if word]
    quick, fixed = "quick" in words, tuple(int(word) for word in words if word != "quick")
    c = mlc.ConfigDict({"experiment": "pooling.budgets", "seed": 0, "data": ""})
    c.problem = {
        "source": "scenes", "train": 512 if quick else 8192, "grid": 6, "width": 16, "length": 9, "vocabulary": 10,
        "budgets": (4, 9, 16, 36), "stripes": 8,
    }  # fmt: skip
    c.algo = {
        "budgets": fixed or (4, 9, 36), "width": 64, "layers": 2, "heads": 4, "hidden": 64, "remat": False,
        "compute_dtype": "float32", "learning_rate": 3e-3, "warmup": 2 if quick else 20, "weight_decay": 0.01,
    }  # fmt: skip
    c.run = {
        "num_steps": 4 if quick else 320, "chunk": 2 if quick else 40, "replicates": 1, "batch_size": 64,
        "windows": 64 if quick else 512,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
