"""Shares of LP-OnOpt at slice scale: 10,240 instances of every family with 128 nodes and 256 arrivals, 4,096 runs each.

  python -m experiments.matching.ratio --config=configs/matching/ratio_pod.py --mesh=rep:-1
Expected: the rescaled rounding above 0.678 of the LP on every instance. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.ratio", "seed": 0, "data": ""})
    n, steps = (14, 28) if quick else (128, 256)
    families = (("er", 0.25), ("er", 0.5), ("ba", 4), ("geom", 0.15), ("geom", 0.5), ("vertex", 0.5))
    c.problem = {"cases": tuple((*family, n, steps) for family in families)}
    c.algo = {"tolerance": 1e-4}
    c.run = {
        "num_steps": len(families), "chunk": 1, "replicates": 8 if quick else 10_240, "runs": 128 if quick else 4096,
    }  # fmt: skip
    return c
