"""All ten pools in a small network on digits: accuracy on moved, turned and scaled test pictures, 256 seeds.

  python -m experiments.pooling.invariance --config=configs/pooling/invariance_pod.py --mesh=rep:-1
Expected, per cent on clean pictures and at shifts of 1, 2, 3 pixels (three seeds of a prototype): tree 95.6, 89.4,
77.6, 75.4; max 92.5, 82.4, 69.3, 66.2; avg 90.7, 86.0, 72.4, 71.0. Smoke: append ":quick".
"""

import ml_collections as mlc

POOLS = (
    "max", "avg", "mixed", "gated", "gated per channel", "tree", "soft", "power", "poset N", "poset N / 4",
)  # fmt: skip


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.invariance", "seed": 0, "data": ""})
    c.problem = {}
    c.algo = {"pools": ("avg", "tree") if quick else POOLS, "learning_rate": 0.01}
    c.run = {
        "num_steps": 1 if quick else 15, "chunk": 1, "replicates": 2 if quick else 256, "train": 200 if quick else 1200,
        "test": 100 if quick else 597, "batch": 32,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
