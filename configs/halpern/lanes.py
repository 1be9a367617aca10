"""Cost of eight lanes with shared coins, with their own, and of one lane alone; least squares, n = 2000.

  python -m experiments.halpern.lanes                                        # 40 s on two CPU cores
Expected: a lane with coins of its own evaluates the full operator at every iteration, one with shared coins at one of
ten, as it does alone. Figure: halpern/fig_lanes. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.lanes", "seed": 0, "data": ""})
    c.problem = {"size": 2000, "columns": 50, "lanes": 8}
    c.algo = {}
    c.run = {
        "num_steps": 6 if quick else 21, "chunk": 1, "replicates": 1, "iterations": 256 if quick else 2048,
        "counted": 256 if quick else 1024,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
