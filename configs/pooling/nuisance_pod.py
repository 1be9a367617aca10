"""Pools of images whose class few features carry, tested where fewer still do, 256 replicates.

  python -m experiments.pooling.nuisance --config=configs/pooling/nuisance_pod.py --mesh=rep:-1
Expected: at the smaller share GSP with gamma = 20 above 0.85, the mean near 0.7.
Figure: pooling/fig_nuisance. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.nuisance", "seed": 0})
    c.problem = {
        "features": 36, "classes": 10, "nuisances": 6, "dim": 16, "noise": 0.2, "foreground": 0.25, "scarce": 0.12,
        "test": 128 if quick else 4096,
    }  # fmt: skip
    c.algo = {
        "pools": ("mean", "max", "GSP gamma=20", "GSP gamma=5", "GSP gamma=0.1"), "prototypes": 16, "mu": 0.3,
        "batch": 32, "learning_rate": 1e-2,
    }  # fmt: skip
    c.run = {"num_steps": 60 if quick else 1500, "chunk": 20 if quick else 100, "replicates": 2 if quick else 256}
    return c
