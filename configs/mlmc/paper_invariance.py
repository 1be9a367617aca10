"""Bits of a million of READ's replicates in four layouts, and on 1, 2, 4 and 8 devices.

  python -m experiments.mlmc.invariance --config=configs/mlmc/paper_invariance.py
Expected: not one differs. Table: mlmc/tab_invariance. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.invariance", "seed": 0, "data": ""})
    c.problem = {"name": "A3" if quick else "E1", "ids": 256 if quick else 16384}
    c.algo = {"r": (0.62,) if quick else (0.66, 0.6), "b": (0,) if quick else (0, 0)}
    c.run = {"num_steps": 4, "chunk": 1, "replicates": 4 if quick else 64, "devices": (2,) if quick else (2, 4, 8)}
    c.numerics = {"x64": False}
    return c
