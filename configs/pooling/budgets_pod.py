"""TODO"""

import ml_collections as mlc

ARGS = ("quick", "64", "144", "256")
MESH = "data:-1"
GROWS = ("problem.stripes", "run.batch_size", "run.windows")


def get_config(arg=""):
    words = [word for word in arg.split(",") if word]
    quick, fixed = "quick" in words, tuple(int(word) for word in words if word != "quick")
    c = mlc.ConfigDict({"experiment": "pooling.budgets", "seed": 0, "data": ""})
    c.problem = {
        "source": "features", "train": 557_056, "grid": 24, "width": 1024, "length": 64, "vocabulary": 32_000,
        "budgets": (64, 100, 144, 256), "stripes": 256,
    }  # fmt: skip
    c.algo = {
        "budgets": fixed or (64, 144, 256), "width": 1024, "layers": 12, "heads": 16, "hidden": 4096, "remat": True,
        "compute_dtype": "bfloat16", "learning_rate": 1e-3, "warmup": 200, "weight_decay": 0.1,
    }  # fmt: skip
    c.run = {"num_steps": 2720, "chunk": 136, "replicates": 1, "batch_size": 2048, "windows": 8192}
    if quick:
        c.problem.update({"source": "scenes", "train": 512, "grid": 16, "width": 1, "length": 4, "vocabulary": 10})
        c.problem.stripes = 8
        c.algo.update({"width": 32, "layers": 1, "heads": 2, "hidden": 32, "warmup": 2})
        c.run.update({"num_steps": 4, "chunk": 2, "batch_size": 32, "windows": 64})
    c.numerics = {"x64": False}
    return c
