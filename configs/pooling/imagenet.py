"""A rehearsal of classifiers on a user's pictures: a small residual network on synthetic pictures of 32 pixels.

  python -m experiments.pooling.imagenet                                        # 30 s on two CPU cores
Expected: the classes of the stand-in are told apart. On pictures of your own: configs/pooling/imagenet_pod.py. Smoke:
append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.imagenet", "seed": 0, "data": ""})
    c.problem = {"source": "synthetic", "train": 512, "side": 36, "crop": 32, "classes": 10, "stripes": 8}
    c.algo = {
        "model": "resnet_small", "kind": "soft", "compute_dtype": "float32", "statistics": "batch", "optimizer": "sgd",
        "learning_rate": 0.1, "warmup": 2, "weight_decay": 1e-4,
    }  # fmt: skip
    c.run = {
        "num_steps": 4 if quick else 64, "chunk": 2 if quick else 8, "replicates": 1, "batch_size": 32, "windows": 64,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
