"""Scenes of nine digits told from 4, 9 or 36 visual tokens, the number drawn anew at every step, and from 16 unseen.

  python -m experiments.pooling.budgets                                         # 30 s on two CPU cores
  python -m experiments.pooling.budgets --config=configs/pooling/budgets.py:9   # trained on 9 tokens alone; or 4, 36
Expected, tokens of the validation captions told right, %, two seeds; the most frequent digit is 11 of them:

  | trained on | 4         | 9         | 16        | 36        |
  | 4, 9, 36   | 39 and 42 | 78 and 79 | 52 and 57 | 88 and 89 |
  | 4          | 48 and 49 | 15 and 21 | 20 and 25 | 14 and 15 |
  | 9          | 17 and 18 | 83 and 84 | 49 and 50 | 12 and 15 |
  | 36         | 13 and 14 | 13 and 14 | 14 and 14 | 94 and 94 |

So one model serves every number, where one trained on a single number tells hardly anything from the others; but at
that number the drawn one, which sees it in a third of the steps, is 5 to 9 points behind. `hu:25` finds it ahead.
Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "4", "9", "36")


def get_config(arg=""):
    words = [word for word in arg.split(",") if word]
    quick, fixed = "quick" in words, tuple(int(word) for word in words if word != "quick")
    c = mlc.ConfigDict({"experiment": "pooling.budgets", "seed": 0, "data": ""})
    c.problem = {
        "source": "scenes", "train": 512 if quick else 8192, "validation": 64 if quick else 512, "grid": 6,
        "width": 16, "length": 9, "vocabulary": 10, "budgets": (4, 9, 16, 36), "stripes": 8,
    }  # fmt: skip
    c.algo = {
        "budgets": fixed or (4, 9, 36), "width": 64, "layers": 2, "heads": 4, "hidden": 64, "remat": False,
        "compute_dtype": "float32", "learning_rate": 3e-3, "warmup": 2 if quick else 20, "weight_decay": 0.01,
    }  # fmt: skip
    c.run = {
        "num_steps": 4 if quick else 320, "chunk": 2 if quick else 40, "replicates": 1, "batch_size": 64,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
