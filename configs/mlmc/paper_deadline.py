"""READ by workers that stop at a deadline, 128 sets of 8,192.

  python -m experiments.mlmc.deadline --config=configs/mlmc/paper_deadline.py
Expected: pooled 1.777, 1.447 and 1.316 at 8, 32 and 128 leaves a worker where 1.25 is right; the rule is right.
Figure: mlmc/fig_deadline. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.deadline", "seed": 0, "data": ""})
    c.problem = {"name": "A1", "workers": 512 if quick else 8192, "budgets": (8, 16, 32, 64, 128)}
    c.algo = {"r": (0.62,), "block": 4096}
    c.run = {"num_steps": 8 if quick else 256, "chunk": 8, "replicates": 8 if quick else 128}
    c.numerics = {"x64": False}
    return c
