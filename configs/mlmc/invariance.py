"""Bits of READ's replicates in four layouts of tiles and blocks, and on 1, 2 and 4 devices.

  python -m experiments.mlmc.invariance
Expected: not one differs. Table: mlmc/tab_invariance. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.invariance", "seed": 0, "data": ""})
    c.problem = {"name": "A3" if quick else "E1", "ids": 256 if quick else 1024}
    c.algo = {"r": (0.62,) if quick else (0.66, 0.6), "b": (0,) if quick else (0, 0)}
    c.run = {"num_steps": 4, "chunk": 1, "replicates": 4 if quick else 8, "devices": (2,) if quick else (2, 4)}
    c.numerics = {"x64": False}
    return c
