"""A rehearsal of poolings of frozen states: sequences of 64 tokens, nine of ten distractors, in place of a user's.

  python -m experiments.pooling.frozen_states                                   # 40 s on two CPU cores
Expected: GLOT above 95 % on validation sequences, all others below 60 %. On states of your own:
configs/pooling/frozen_states_pod.py. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.frozen_states", "seed": 0, "data": ""})
    c.problem = {
        "source": "synthetic", "train": 256 if quick else 1536, "validation": 100 if quick else 500,
        "length": 32 if quick else 64, "channels": 64, "dtype": "float16", "classes": 2, "stripes": 8,
        "ratio": 0.9, "topics": 1000, "mark": 0.6, "noise": 0.1,
    }  # fmt: skip
    c.algo = {
        "poolings": ("mean", "max", "last", "position_weighted", "attention", "graph"), "head": 64, "hidden": 32,
        "layers": 2, "threshold": 0.6, "learning_rate": 0.003,
    }  # fmt: skip
    c.run = {"num_steps": 4 if quick else 288, "chunk": 2 if quick else 48, "replicates": 1, "batch_size": 16}
    c.numerics = {"x64": False}
    return c
