"""Fixed levels on a slice: 4,096 runs of every walk, down to a tolerance of 1e-4.

  python -m experiments.mlmc.multilevel --config=configs/mlmc/multilevel_pod.py --mesh=rep:-1
Expected: errors of 0.95 to 1.05 tolerances, the cost of the jump alone growing faster than the tolerance squared.
Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.multilevel", "seed": 0, "data": ""})
    # Of the fixed walks: samples of every level up to the finest, by every replicate at every step.
    c.problem = {
        "adaptive": ("A1", "A2", "A3", "A4"), "tolerances": (0.04, 0.02) if quick else (0.01, 0.003, 0.001, 0.0003),
        "fixed": () if quick else ("A5",), "samples": 1024, "finest_fixed": 12,
    }  # fmt: skip
    c.algo = {"min_level": 2, "max_level": 8 if quick else 16, "initial": 1000, "bias_share": 0.25, "base": 0}
    c.run = {"num_steps": len(c.problem.tolerances), "chunk": 1, "replicates": 16 if quick else 4096}
    c.numerics = {"x64": True}
    return c
