"""Fixed levels, adaptively, 200 runs of every walk down to a tolerance of 1e-3.

  python -m experiments.mlmc.multilevel --config=configs/mlmc/paper_multilevel.py          # an hour on two CPU cores
Expected: errors of 0.9 to 1.1 tolerances; at 0.01, 0.005 and 0.002 a cost of 4.5, 5.0 and 5.4 (A4), at the latter two
4.2 and 4.3 (A3), in units of the tolerance to the power of -2. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.multilevel", "seed": 0, "data": ""})
    # Of the fixed walks: samples of every level up to the finest, by every replicate at every step.
    c.problem = {
        "adaptive": ("A3", "A4"), "tolerances": (0.04, 0.02) if quick else (0.02, 0.01, 0.005, 0.002, 0.001),
        "fixed": () if quick else ("A5",), "samples": 2048, "finest_fixed": 10,
    }  # fmt: skip
    c.algo = {"min_level": 2, "max_level": 8 if quick else 14, "initial": 1000, "bias_share": 0.25, "base": 0}
    c.run = {"num_steps": len(c.problem.tolerances), "chunk": 1, "replicates": 16 if quick else 200}
    return c
