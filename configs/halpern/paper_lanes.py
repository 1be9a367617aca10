"""Cost of eight lanes with shared coins, with their own, and of one lane alone; n = 20,000.

  python -m experiments.halpern.lanes --config=configs/halpern/paper_lanes.py              # 5 min on two CPU cores
Expected: the same counts; the larger the operator, the more it matters. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.lanes", "seed": 0, "data": ""})
    c.problem = {"size": 2000 if quick else 20_000, "columns": 50, "lanes": 8}
    c.algo = {}
    c.run = {
        "num_steps": 6 if quick else 21, "chunk": 1, "replicates": 1, "iterations": 256 if quick else 2048,
        "counted": 256 if quick else 1024,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
