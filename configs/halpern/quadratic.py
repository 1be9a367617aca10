"""|F| of six methods on a quadratic program hard for first-order methods, n = 200, up to 10^4 epochs.

  python -m experiments.halpern.quadratic
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.quadratic", "seed": 0, "data": ""})
    c.problem = {
        "size": 200,
        "epochs": (100, 300, 1000) if quick else (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000),
    }
    c.algo = {"methods": ("eg", "eag", "feg", "vr_eg", "page", "alg2")}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 5, "stride": 4}
    c.numerics = {"x64": True}
    return c
