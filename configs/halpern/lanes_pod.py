"""Cost of 128 lanes with shared coins, with their own, and of one lane alone, on one accelerator.

  python -m experiments.halpern.lanes --config=configs/halpern/lanes_pod.py
Expected: lanes are nearly free until the device is full, with shared coins. Smoke: append ":quick".
"""

import ml_collections as mlc

# It is about the clock of one chip; on a slice all of them would do the same.
MESH, GROWS = "data:-1", ()


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.lanes", "seed": 0, "data": ""})
    c.problem = {"size": 2000 if quick else 20_000, "columns": 50, "lanes": 8 if quick else 128}
    c.algo = {}
    c.run = {
        "num_steps": 6 if quick else 21, "chunk": 1, "replicates": 1, "iterations": 256 if quick else 2048,
        "counted": 256 if quick else 1024,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
