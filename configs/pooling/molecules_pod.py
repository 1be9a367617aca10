"""GIN and a pool of five on ogbg-molpcba, on a slice: about 8,000 molecules a step, 100 epochs.

  python -m experiments.pooling.molecules --config=configs/pooling/molecules_pod.py \
      --config.problem.source=FOLDER --config.algo.pool=topk --mesh=data:256
  python -m experiments.aot --config=configs/pooling/molecules_pod.py --topology=v5e:16x16 --limit_seconds=1800
FOLDER is that of the Open Graph Benchmark, extracted, with raw/ and split/scaffold/; the first run parses it, minutes,
and keeps the arrays in the cache. The small set, ogbg-molhiv: ":molhiv". Pools: mean, sum, topk, parse, histograph.
Published, on test at the best validation (`hu-ogb:20`'s leaderboard, recalled; GIN, mean, batches of 32, no schedule):
molpcba, average precision 22.7 +- 0.3 %; molhiv, ROC-AUC 75.6 +- 1.4 %. With topk, parse and histograph none: we have
seen no number of `cangea:18`, `song:24` or `galron:26` on these two sets. Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "molhiv")
MESH = "data:-1"
GROWS = ("problem.stripes", "run.batch_size")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    quick, small = "quick" in given, "molhiv" in given
    c = mlc.ConfigDict({"experiment": "pooling.molecules", "seed": 0, "data": ""})
    c.problem = {
        "source": "molhiv" if small else "molpcba", "molecules": 41_127 if small else 437_929,
        "tasks": 1 if small else 128, "metric": "roc_auc" if small else "average_precision",
        "train": 4096 if small else 11_264, "held_out": 768 if small else 1536, "packings": 4,
        "atoms": 256 if small else 1024, "bonds": 320 if small else 1152, "room": 32 if small else 64, "stripes": 256,
    }  # fmt: skip
    c.algo = {
        "pool": "parse", "channels": 300, "layers": 5, "levels": 3, "ratio": 0.8, "heads": 4, "dropout": 0.5,
        "learning_rate": 2e-3 if small else 4e-3, "warmup": 160 if small else 220,
    }  # fmt: skip
    c.run = {
        "num_steps": 1600 if small else 4400, "chunk": 16 if small else 44, "replicates": 1, "batch_size": 256,
    }  # fmt: skip
    c.numerics = {"x64": False, "matmul_precision": "default"}
    if quick:
        c.problem.update({"source": "synthetic", "molecules": 320, "tasks": 3, "train": 48, "held_out": 8})
        c.problem.update({"packings": 2, "atoms": 256, "bonds": 256, "room": 16, "stripes": 8})
        c.algo.update({"channels": 16, "layers": 3, "levels": 2, "warmup": 2})
        c.run.update({"num_steps": 4, "chunk": 2, "batch_size": 8})
    return c
