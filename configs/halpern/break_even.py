"""Calls of FEG over those of Algorithm 2 on bilinear problems: two sizes, six ratios L / L_F.

  python -m experiments.halpern.break_even                                   # 50 s on two CPU cores
Expected: equal calls at 0.6 of the predicted break-even, since FEG stays further below its worst case than Algorithm 2.
Figure: halpern/fig_break_even. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.break_even", "seed": 0, "data": ""})
    c.problem = {
        "sizes": (64,) if quick else (64, 512), "ratios": (1.2, 2.0, 4.0, 8.0) if quick
        else (1.05, 1.5, 2.5, 4.0, 8.0, 16.0), "accuracy": 0.05, "epochs": (2000.0,),
    }  # fmt: skip
    c.algo = {"kappa": 1.0}
    c.run = {"num_steps": 1, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": False}
    return c
