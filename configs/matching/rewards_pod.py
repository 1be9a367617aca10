"""Stochastic rewards with a hundred nodes and p = 1/100.

  python -m experiments.matching.rewards --config=configs/matching/rewards_pod.py --mesh=rep:-1
Expected: Balance 0.63 to 0.64 of the matching program on the graph of every size. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.rewards", "seed": 0, "data": ""})
    sizes = ((4, 0.25), (8, 0.125)) if quick else ((10, 0.1), (20, 0.05), (50, 0.02), (100, 0.01))
    c.problem = {
        "cases": (
            *(("triangular", *size) for size in sizes), *(("permuted", *size) for size in sizes),
            *(("clicks", 8, steps) for steps in ((60,) if quick else (30, 60, 120, 240))),
        ),
        "most": 8 if quick else 10,
    }  # fmt: skip
    c.run = {"num_steps": 128 if quick else 16_384, "chunk": 128, "replicates": 8 if quick else 256}
    return c
