"""What roundings and policies earn of LP-OnOpt and of the philosopher: eight families, or growing sizes; exact values.

  python -m experiments.matching.ratio                                       # 40 s on two CPU cores
  python -m experiments.matching.ratio --config=configs/matching/ratio.py:growth
Expected: the rescaled rounding never below 0.678 of the LP (least 0.83), 0.90 to 0.94 of the philosopher on average.
Figure: matching/fig_ratio. Smoke: ":quick" or ":growth,quick".
"""

import ml_collections as mlc

ARGS = ("quick", "growth")

FAMILIES = (
    ("er", 0.25, 10, 20), ("er", 0.5, 10, 20), ("er", 0.75, 10, 20), ("ba", 4, 10, 20), ("geom", 0.15, 10, 20),
    ("geom", 0.25, 10, 20), ("geom", 0.5, 10, 20), ("vertex", 0.5, 10, 20),
)  # fmt: skip


def get_config(arg=""):
    words = arg.split(",")
    quick = "quick" in words
    c = mlc.ConfigDict({"experiment": "matching.ratio", "seed": 0, "data": ""})
    if "growth" in words:
        sizes, horizons = ((2, 4, 6), (3,)) if quick else ((2, 3, 4, 6, 8, 10), (3, 6, 24))
        grown = [("er", 0.5, n, 2 * n) for n in sizes]
        c.problem = {"cases": (*grown, *(("er", 0.5, 6, steps) for steps in horizons))}
    else:
        c.problem = {"cases": tuple((*family, 6, 12) for *family, _, _ in FAMILIES) if quick else FAMILIES}
    c.algo = {"tolerance": 1e-5}
    c.run = {"num_steps": len(c.problem.cases), "chunk": 1, "replicates": 4 if quick else 30, "runs": 0}
    c.numerics = {"x64": True}
    return c
