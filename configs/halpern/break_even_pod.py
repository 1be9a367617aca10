"""Calls of FEG over those of Algorithm 2 on bilinear problems: n from 2^8 to 2^12, L / L_F up to sqrt(n), 256 seeds.

  python -m experiments.halpern.break_even --config=configs/halpern/break_even_pod.py --mesh=rep:-1
Expected: as the default, with narrow intervals. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.break_even", "seed": 0, "data": ""})
    c.problem = {
        "sizes": (64,) if quick else (256, 1024, 4096), "ratios": (1.2, 2.0, 4.0, 8.0) if quick
        else (1.05, 1.5, 2.5, 4.0, 8.0, 16.0, 32.0, 64.0), "accuracy": 0.05, "epochs": (2000.0,),
    }  # fmt: skip
    c.algo = {"kappa": 1.0}
    c.run = {"num_steps": 1, "chunk": 1, "replicates": 2 if quick else 256}
    c.numerics = {"x64": False}
    return c
