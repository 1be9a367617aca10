"""Maximin shares online: five rules on random sequences of 3 to 10 items and against all sequences on a grid.

  python -m experiments.matching.scheduling                                  # 40 s on two CPU cores
Expected: goods never below 1/2, chores of two agents never above sqrt 2, of three never above 5/3; the game with
values in sixths comes to 2/3 (goods) and 4/3 (chores). Figure: matching/fig_scheduling. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.scheduling", "seed": 0, "data": ""})
    c.problem = {
        "lengths": (3, 5, 7) if quick else (3, 4, 5, 6, 8, 10), "power": 2.0,
        # (grid, items, most agents): values are multiples of 1/grid
        "grid": ((4, 2, 3), (4, 3, 3), (6, 4, 2)) if quick else ((8, 2, 3), (6, 3, 3), (4, 4, 3), (7, 4, 2), (5, 5, 2)),
        "game": ((6, 2), (6, 3), (6, 4)) if quick else ((6, 2), (6, 3), (6, 4), (6, 5), (6, 6), (6, 7)),
    }  # fmt: skip
    c.run = {"num_steps": len(c.problem.lengths), "chunk": 1, "replicates": 8 if quick else 64}
    return c
