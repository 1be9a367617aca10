"""Four poolings at 50 and 90 % distractors, sequences of 64 tokens, three seeds.

  python -m experiments.pooling.distractors                                  # 50 s on two CPU cores
Expected: the token graph above 97 %, all others at chance. Figure: pooling/fig_distractors. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.distractors", "seed": 0, "data": ""})
    c.problem = {
        "ratios": (0.9,) if quick else (0.5, 0.9), "length": 32 if quick else 64, "channels": 64, "topics": 1000,
        "mark": 0.6, "noise": 0.1, "train": 512 if quick else 1536, "test": 256 if quick else 512,
    }  # fmt: skip
    c.algo = {
        "hidden": 32, "layers": 2, "head": 64, "threshold": 0.6, "batch": 16, "learning_rate": 0.003,
    }  # fmt: skip
    c.run = {"num_steps": 2 if quick else 5, "chunk": 1, "replicates": 2 if quick else 3}
    c.numerics = {"x64": False}
    return c
