"""Choices of the rounding, one by one: modes by rescaling, and the closed form at 49 pairs (eps, delta). Exact values.

  python -m experiments.matching.ablation                                    # 20 s on two CPU cores
Expected: on benign instances no rescaling and keeping the losers is best, by 2 to 6 per cent; on the hard instance the
rescaled closed form. Figure: matching/fig_ablation. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    n, steps = (4, 8) if quick else (6, 12)
    c = mlc.ConfigDict({"experiment": "matching.ablation", "seed": 0, "data": ""})
    families = (("er", 0.5), ("ba", 2), ("geom", 0.25), ("vertex", 0.5), ("hard", 0.724))
    c.problem = {"cases": tuple((*family, n, steps) for family in families)}
    c.algo = {
        "tolerance": 1e-6,
        "eps": (0.02, 0.11, 0.2) if quick else (0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2),
        "delta": (0.04, 0.18, 0.32) if quick else (0.04, 0.09, 0.135, 0.18, 0.225, 0.27, 0.32),
    }  # fmt: skip
    c.run = {"num_steps": len(families), "chunk": 1, "replicates": 8 if quick else 32}
    c.numerics = {"x64": True}
    return c
