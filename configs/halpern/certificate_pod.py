"""Steps of Algorithm 1: certified, and before it diverges, by 256 seeds.

  python -m experiments.halpern.certificate --config=configs/halpern/certificate_pod.py --mesh=rep:-1
Expected: no divergence where the margin is at most 1. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.certificate", "seed": 0, "data": ""})
    c.problem = {
        "sizes": (400,) if quick else (100, 1600, 25_600), "columns": 10,
        "batches": (0.25, 1.0) if quick else (0.25, 1.0, 4.0),
        "scaled_steps": (0.35, 0.71, 1.41, 2.83, 5.66) if quick
        else (0.1, 0.18, 0.25, 0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.38, 2.83, 3.36, 4.0, 5.66), "epochs": (100.0,),
    }  # fmt: skip
    c.algo = {"searched": (100,) if quick else (100, 10_000), "candidates": 100 if quick else 400}
    c.run = {"num_steps": 1, "chunk": 1, "replicates": 2 if quick else 256, "stride": 32}
    c.numerics = {"x64": False}
    return c
