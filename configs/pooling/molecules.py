"""A rehearsal of graph networks and their pools on molecules: synthetic ones, a small network, graph parsing.

  python -m experiments.pooling.molecules                                       # 60 s on two CPU cores
Expected, area under the ROC curve on the validation split after the last step (seeds 0 and 1): parsing 0.970, 0.956;
sums 0.987, 0.988; means 0.978, 0.978; HISTOGRAPH 0.989, 0.990, by --config.algo.pool. Half of the labels ask for a
number of oxygens, which a sum counts (`experiments.data.molecule_stand_in`). On the
Open Graph Benchmark's: configs/pooling/molecules_pod.py. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.molecules", "seed": 0, "data": ""})
    c.problem = {
        "source": "synthetic", "molecules": 320 if quick else 2000, "tasks": 2, "metric": "roc_auc",
        "train": 48 if quick else 296, "held_out": 8 if quick else 40, "packings": 2, "atoms": 256, "bonds": 256,
        "room": 16, "stripes": 8,
    }  # fmt: skip
    c.algo = {
        "pool": "parse", "channels": 32, "layers": 3, "levels": 2, "ratio": 0.8, "heads": 2, "dropout": 0.0,
        "learning_rate": 3e-3, "warmup": 2,
    }  # fmt: skip
    c.run = {"num_steps": 4 if quick else 240, "chunk": 2 if quick else 20, "replicates": 1, "batch_size": 16}
    c.numerics = {"x64": False}
    return c
