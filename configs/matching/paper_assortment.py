"""Assortments in one pass against brute force, for 4 to 16 items.

  python -m experiments.matching.assortment --config=configs/matching/paper_assortment.py       # minutes on two cores
Expected: never below the proven ratios. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.assortment", "seed": 0, "data": ""})
    c.problem = {"sizes": (4, 6, 8) if quick else (4, 6, 8, 10, 12, 14, 16)}
    c.algo = {"epsilon": 0.1}
    c.run = {
        "num_steps": len(c.problem.sizes), "chunk": 1, "replicates": 4 if quick else 16,
        "samples": 128 if quick else 8192,
    }  # fmt: skip
    return c
