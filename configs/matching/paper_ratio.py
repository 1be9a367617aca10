"""The families of ratio.py with 128 instances each, 1,024 in all.

  python -m experiments.matching.ratio --config=configs/matching/paper_ratio.py               # minutes on two CPU cores
  python -m experiments.matching.ratio --config=configs/matching/paper_ratio.py:growth
Expected: the rescaled rounding never below 0.678 of the LP. Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "growth")

FAMILIES = (
    ("er", 0.25, 10, 20), ("er", 0.5, 10, 20), ("er", 0.75, 10, 20), ("ba", 4, 10, 20), ("geom", 0.15, 10, 20),
    ("geom", 0.25, 10, 20), ("geom", 0.5, 10, 20), ("vertex", 0.5, 10, 20),
)  # fmt: skip


def get_config(arg=""):
    words = arg.split(",")
    c = mlc.ConfigDict({"experiment": "matching.ratio", "seed": 0, "data": ""})
    if "growth" in words:
        grown = [("er", 0.5, n, 2 * n) for n in (2, 3, 4, 6, 8, 10)]
        c.problem = {"cases": (*grown, *(("er", 0.5, 6, steps) for steps in (3, 6, 24, 40)))}
    else:
        c.problem = {"cases": FAMILIES}
    c.algo = {"tolerance": 1e-6}
    c.run = {"num_steps": len(c.problem.cases), "chunk": 1, "replicates": 4 if "quick" in words else 128, "runs": 0}
    c.numerics = {"x64": True}
    return c
