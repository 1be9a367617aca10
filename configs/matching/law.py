"""Exact law of the free set on 256 random instances: marginals, negative dependence, and 4,096 simulated runs of each.

  python -m experiments.matching.law                                         # 30 s on two CPU cores
Expected: both errors below 1e-9 for every rule but the naive one, whose dependence is violated by up to 0.1.
Figure: matching/fig_law. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.law", "seed": 0, "data": ""})
    c.problem = {"nodes": 3 if quick else 5, "steps": 4 if quick else 6, "types": 2}
    c.algo = {"eps": 0.11, "delta": 0.18}
    c.run = {
        "num_steps": 2 if quick else 8, "chunk": 1, "replicates": 16 if quick else 32, "runs": 1024 if quick else 4096,
    }  # fmt: skip
    c.numerics = {"x64": True}
    return c
