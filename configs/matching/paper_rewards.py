"""Stochastic rewards up to forty nodes and p = 1/40, where probabilities begin to vanish.

  python -m experiments.matching.rewards --config=configs/matching/paper_rewards.py        # minutes on two CPU cores
Expected at n = 40: Balance 0.635 of the matching program, Perturbed Greedy 0.629, Random 0.631. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.rewards", "seed": 0, "data": ""})
    sizes = (
        ((4, 0.25), (8, 0.125)) if quick else ((3, 1 / 3), (5, 0.2), (8, 0.125), (12, 1 / 12), (20, 0.05), (40, 0.025))
    )
    c.problem = {
        "cases": (
            *(("triangular", *size) for size in sizes), *(("permuted", *size) for size in sizes),
            *(("clicks", 8, steps) for steps in ((60,) if quick else (30, 60, 120, 240))),
        ),
        "most": 8 if quick else 12,
    }  # fmt: skip
    c.run = {"num_steps": 128 if quick else 4096, "chunk": 128, "replicates": 8}
    return c
