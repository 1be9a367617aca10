"""Choices of the rounding on 8,192 larger instances of every family.

  python -m experiments.matching.ablation --config=configs/matching/ablation_pod.py --mesh=rep:-1
Expected: as configs/matching/ablation.py, intervals a sixteenth as wide. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    n, steps = (4, 8) if quick else (7, 14)
    c = mlc.ConfigDict({"experiment": "matching.ablation", "seed": 0, "data": ""})
    families = (("er", 0.5), ("ba", 2), ("geom", 0.25), ("vertex", 0.5), ("hard", 0.724))
    c.problem = {"cases": tuple((*family, n, steps) for family in families)}
    c.algo = {
        "tolerance": 1e-4,
        "eps": (0.02, 0.11, 0.2) if quick else (0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2),
        "delta": (0.04, 0.18, 0.32) if quick else (0.04, 0.09, 0.135, 0.18, 0.225, 0.27, 0.32),
    }  # fmt: skip
    c.run = {"num_steps": len(families), "chunk": 1, "replicates": 8 if quick else 8192}
    c.numerics = {"x64": False}  # double precision is emulated on TPUs, and does not compile in ten minutes
    return c
