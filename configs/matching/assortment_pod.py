"""Assortments in one pass at slice scale: 65,536 draws of 14 items; the optima are for the host, and take days.

  python -m experiments.matching.assortment --config=configs/matching/assortment_pod.py --mesh=rep:-1
Expected: never below the proven ratios where the optimum is known. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.assortment", "seed": 0, "data": ""})
    c.problem = {"sizes": (4, 6, 8) if quick else (14,)}
    c.algo = {"epsilon": 0.1}
    c.run = {
        "num_steps": len(c.problem.sizes), "chunk": 1, "replicates": 4 if quick else 65_536,
        "samples": 128 if quick else 1024,
    }  # fmt: skip
    return c
