"""Maximin shares online on finer grids and 512 random sequences.

  python -m experiments.matching.scheduling --config=configs/matching/paper_scheduling.py     # minutes on two CPU cores
Expected: as configs/matching/scheduling.py, no ratio beyond its guarantee. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.scheduling", "seed": 0, "data": ""})
    c.problem = {
        "lengths": (3, 5, 7) if quick else (3, 4, 5, 6, 8, 10), "power": 2.0,
        # (grid, items, most agents): values are multiples of 1/grid
        "grid": ((4, 2, 3), (4, 3, 3), (6, 4, 2)) if quick
        else ((12, 2, 3), (8, 3, 3), (5, 4, 3), (11, 4, 2), (8, 5, 2)),
        "game": ((6, 2), (6, 3), (6, 4)) if quick else ((12, 2), (12, 3), (12, 4), (8, 5), (8, 6), (6, 7), (6, 8)),
    }  # fmt: skip
    c.run = {"num_steps": len(c.problem.lengths), "chunk": 1, "replicates": 8 if quick else 512}
    return c
