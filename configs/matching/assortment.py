"""Assortments in one pass along the price order, against brute force, for 4 to 12 items.

  python -m experiments.matching.assortment                                  # 30 s on two CPU cores
Expected: with every threshold tried 0.93 to 1 of the optimum on average; never below the proven ratios.
Figure: matching/fig_assortment. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.assortment", "seed": 0, "data": ""})
    c.problem = {"sizes": (4, 7) if quick else (4, 6, 8, 10, 12)}
    c.algo = {"epsilon": 0.1}
    c.run = {
        "num_steps": len(c.problem.sizes), "chunk": 1, "replicates": 3 if quick else 12,
        "samples": 128 if quick else 1024,
    }  # fmt: skip
    return c
