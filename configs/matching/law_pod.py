"""Exact law of the free set on a million random instances of up to six nodes.

  python -m experiments.matching.law --config=configs/matching/law_pod.py --mesh=rep:-1
Expected: both errors below 1e-5, which is single precision, for every rule but the naive one. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.law", "seed": 0, "data": ""})
    c.problem = {"nodes": 3 if quick else 6, "steps": 4 if quick else 6, "types": 2}
    c.algo = {"eps": 0.11, "delta": 0.18}
    c.run = {
        "num_steps": 2 if quick else 256, "chunk": 1, "replicates": 16 if quick else 4096, "runs": 256,
    }  # fmt: skip
    c.numerics = {"x64": False}  # double precision is emulated on TPUs, and does not compile in ten minutes
    return c
