"""The instance built against the rounding, up to a thousand exhausted nodes.

  python -m experiments.matching.worst_case --config=configs/matching/paper_worst_case.py     # minutes on two cores
Expected at s = .724 with m = 1,000: 0.67908 scaled, 0.64909 unscaled. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.worst_case", "seed": 0, "data": ""})
    c.problem = {
        "exhausted": (10, 100) if quick else (10, 50, 200, 1000),
        "poisson": (0.0, 0.2, 0.4, 0.5, 0.6, 0.724, 0.8, 0.9, 1.0),
        "eta": 1e-7,
    }  # fmt: skip
    c.algo = {"eps": 0.11, "delta": 0.18}
    c.run = {"num_steps": 128 if quick else 4096, "chunk": 128, "replicates": 8}
    return c
