"""Maximin shares online on a million random sequences of 14 items; the shares are for the host, and take a day.

  python -m experiments.matching.scheduling --config=configs/matching/scheduling_pod.py --mesh=rep:-1
Expected: no ratio beyond its guarantee. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.scheduling", "seed": 0, "data": ""})
    c.problem = {
        "lengths": (3, 5, 7) if quick else (14,), "power": 2.0,
        # (grid, items, most agents): values are multiples of 1/grid
        "grid": ((4, 2, 3), (4, 3, 3), (6, 4, 2)) if quick else ((8, 2, 3), (6, 3, 3), (4, 4, 3), (7, 4, 2), (5, 5, 2)),
        "game": ((6, 2), (6, 3), (6, 4)) if quick else ((6, 2), (6, 3), (6, 4), (6, 5), (6, 6), (6, 7)),
    }  # fmt: skip
    c.run = {"num_steps": len(c.problem.lengths), "chunk": 1, "replicates": 8 if quick else 1_048_576}
    return c
