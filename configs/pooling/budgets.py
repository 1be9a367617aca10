"""Scenes of nine digits told from 4, 9 or 36 visual tokens, the number drawn anew at every step, and from 16 unseen.

  python -m experiments.pooling.budgets                                         # 30 s on two CPU cores
  python -m experiments.pooling.budgets --config=configs/pooling/budgets.py:9   # trained on 9 tokens alone; or 4, 36
Expected, tokens of the validation captions told right, %, two seeds; the most frequent digit is 11 of them:

  | trained on | 4         | 9         | 16        | 36        |
  | 4, 9, 36   | 41 and 42 | 77 and 80 | 51 and 56 | 86 and 91 |
  | 4          | 48 and 49 | 18 and 22 | 21 and 24 | 13 and 16 |
  | 9          | 16 and 18 | 82 and 83 | 47 and 49 | 12 and 17 |
  | 36         | 12 and 13 | 13 and 15 | 14 and 17 | 94 and 94 |

So one model serves every number, where one trained on a single number tells little from the others; but at that number
the one of drawn budgets, which sees it in a third of the steps, is 4 to 7 points behind. With three times the steps,
--config.run.num_steps=960 --config.run.chunk=160, it sees each as often as the fixed ones above and tells 50 and 52, 85
and 85, 63 and 66, 93 and 95: ahead at 4 and 9, as `hu:25` finds at all of its numbers, and level at 36.
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
