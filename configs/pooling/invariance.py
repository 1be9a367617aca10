"""Six pools in a small network on digits: accuracy on moved, turned and scaled test pictures, three seeds.

  python -m experiments.pooling.invariance                                     # 50 s on two CPU cores
Expected: tree pooling above maximum and average on clean pictures and at every shift; three seeds cannot order gated
and mixed pooling. Figure: pooling/fig_invariance. Smoke: append ":quick".
"""

import ml_collections as mlc

POOLS = ("max", "avg", "mixed", "gated", "tree", "soft")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.invariance", "seed": 0, "data": ""})
    c.problem = {}
    c.algo = {"pools": ("avg", "tree") if quick else POOLS, "learning_rate": 0.01}
    c.run = {
        "num_steps": 1 if quick else 8, "chunk": 1, "replicates": 2 if quick else 3, "train": 200 if quick else 1200,
        "test": 100 if quick else 597, "batch": 32,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
