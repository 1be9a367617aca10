"""A rehearsal of retrieval of unseen classes: a small residual network on made pictures of patches, one pool.

  python -m experiments.pooling.retrieval                                       # 40 s on two CPU cores
Expected: recall at 1 on the 24 unseen classes 0.52 (0.42 with seed 1), MAP@R 0.26 (0.21), where chance is 0.04; with
the average pool 0.43 (0.43) and 0.20 (0.20). Last bits move these by 0.04, so two seeds tell no order. Any pool:
--config.algo.pool=avg (max, gem, gsp, avg+max, gsp+max). Real pictures: configs/pooling/retrieval_pod.py. Smoke: append
":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.retrieval", "seed": 0, "data": ""})
    c.problem = {
        "source": "synthetic", "train": 203 if quick else 603, "side": 40, "crop": 32, "classes": 24, "unseen": 24,
        "stripes": 8, "foreground": 0.25, "nuisances": 8,
    }  # fmt: skip
    c.algo = {
        "model": "resnet_small", "kind": "max", "pool": "gsp", "dim": 32, "prototypes": 16, "mu": 0.3, "gamma": 5.0,
        "power": 3.0, "weights": "", "compute_dtype": "float32", "temperature": 1 / 9, "learning_rate": 0.01,
        "proxy_rate": 0.1, "epsilon": 1e-8, "warmup": 2,
    }  # fmt: skip
    c.run = {
        "num_steps": 4 if quick else 240, "chunk": 2 if quick else 24, "replicates": 1, "batch_size": 32,
        "windows": 101 if quick else 301,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
