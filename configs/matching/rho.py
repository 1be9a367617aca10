"""rho(eps, delta) and the worst configuration found by search, on a grid of 99 pairs.

  python -m experiments.matching.rho                                         # 30 s on two CPU cores
Expected: rho(.11, .18) = 0.678965; nothing lower found there, and other configurations bind where eps or delta is too
large. Figure: matching/fig_rho. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.rho", "seed": 0, "data": ""})
    c.problem = {
        "eps": (0.05, 0.11, 0.17) if quick else (0.02, 0.05, 0.08, 0.095, 0.11, 0.125, 0.14, 0.17, 0.2),
        "delta": (0.09, 0.18, 0.27) if quick
        else (0.04, 0.08, 0.12, 0.15, 0.165, 0.18, 0.195, 0.21, 0.24, 0.28, 0.32),
    }  # fmt: skip
    c.algo = {
        "search": {"num_nodes": 3, "num_starts": 4 if quick else 8, "num_steps": 300 if quick else 1000},
        "longer": 1000 if quick else 10_000,
    }  # fmt: skip
    c.run = {"num_steps": 2 if quick else 4, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": True}
    return c
