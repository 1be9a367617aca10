"""Fixed levels, adaptively: 100 runs on a smooth link (A3), a kink (A4) and a jump (A5), three tolerances.

  python -m experiments.mlmc.multilevel                                   # 50 s on two CPU cores
Expected: errors of 0.9 to 1.1 tolerances; variances that fall as 2**(-2 l), 2**(-1.5 l) and 2**(-l/2).
Figure: mlmc/fig_multilevel. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.multilevel", "seed": 0, "data": ""})
    # Of the fixed walks: samples of every level up to the finest, by every replicate at every step.
    c.problem = {
        "adaptive": ("A3", "A4"), "tolerances": (0.04, 0.02) if quick else (0.02, 0.01, 0.005),
        "fixed": () if quick else ("A5",), "samples": 256, "finest_fixed": 8,
    }  # fmt: skip
    c.algo = {"min_level": 2, "max_level": 8 if quick else 11, "initial": 1000, "bias_share": 0.25, "base": 0}
    c.run = {"num_steps": len(c.problem.tolerances), "chunk": 1, "replicates": 16 if quick else 100}
    return c
