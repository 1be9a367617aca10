"""Root mean squares over 256 seeds against the bounds of both algorithms, 20 instances of each class.

  python -m experiments.halpern.bounds --config=configs/halpern/paper_bounds.py          # one hour on two CPU cores
Expected: no ratio of measured to allowed above 1. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.bounds", "seed": 0, "data": ""})
    c.problem = {
        "size": 64 if quick else 400,
        "dim": 8,
        "saddle_size": 16 if quick else 32,
        "instances": 3 if quick else 20,
        "instance_seed": 0,
    }
    c.run = {"num_steps": 12 if quick else 64, "chunk": 1, "replicates": 64 if quick else 256}
    c.numerics = {"x64": True}
    return c
