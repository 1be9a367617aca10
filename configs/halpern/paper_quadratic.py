"""|F| of six methods on a quadratic program hard for first-order methods, n = 200, up to 10^6 epochs.

  python -m experiments.halpern.quadratic --config=configs/halpern/paper_quadratic.py    # two hours on two CPU cores
Expected after 10^6 epochs: FEG 2.68e-3, Algorithm 1 3.5e-3, EAG 1.2e-2, EG 0.96. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.quadratic", "seed": 0, "data": ""})
    c.problem = {
        "size": 200,
        "epochs": (1000, 3000, 10_000)
        if quick
        else (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000),
    }
    methods = ("eg", "eag", "feg", "vr_eg", "page", "alg2")
    c.algo = {"methods": ("eg", "eag", "feg", "alg2") if quick else methods}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 5, "stride": 4}
    c.numerics = {"x64": True}
    return c
