"""|F| of six methods on a quadratic program hard for first-order methods, n = 200, up to 10^4 epochs.

  python -m experiments.halpern.quadratic                                    # 50 s on two CPU cores
Expected after 10^4 epochs: FEG 0.124, Algorithm 1 0.36 (with bursts, its step is not a proved one), Algorithm 2 0.7,
EAG 2.16, EG 3.34, VR-EG 3.5. Figure: halpern/fig_quadratic. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.quadratic", "seed": 0, "data": ""})
    c.problem = {
        "size": 200,
        "epochs": (1000, 3000, 10_000) if quick else (100, 200, 500, 1000, 1500, 2000, 3000, 5000, 7000, 10_000),
    }
    methods = ("eg", "eag", "feg", "vr_eg", "page", "alg2")
    c.algo = {"methods": ("eg", "eag", "feg", "alg2") if quick else methods}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 5, "stride": 4}
    c.numerics = {"x64": True}
    return c
