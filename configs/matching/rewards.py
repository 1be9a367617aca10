"""Stochastic rewards: four policies on the upper-triangular graph, as it is and permuted, and on random ad clicks.

  python -m experiments.matching.rewards                                     # 30 s on two CPU cores
Expected at n = 20, p = .05: Balance 0.634 of the matching program, Perturbed Greedy and Random 0.630.
Figure: matching/fig_rewards. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.rewards", "seed": 0, "data": ""})
    sizes = ((4, 0.25), (8, 0.125)) if quick else ((3, 1 / 3), (5, 0.2), (8, 0.125), (12, 1 / 12), (20, 0.05))
    c.problem = {
        "cases": (
            *(("triangular", *size) for size in sizes), *(("permuted", *size) for size in sizes),
            *(("clicks", 8, steps) for steps in ((60,) if quick else (30, 60, 120, 240))),
        ),
        "most": 8 if quick else 12,
    }  # fmt: skip
    c.run = {"num_steps": 256 if quick else 1024, "chunk": 128, "replicates": 8}
    return c
