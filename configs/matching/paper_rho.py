"""rho(eps, delta) against a longer search with five arbitrary nodes.

  python -m experiments.matching.rho --config=configs/matching/paper_rho.py              # half an hour on two CPU cores
Expected: nothing below 0.678965 at (.11, .18). Smoke: append ":quick".
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
        "search": {
            "num_nodes": 3 if quick else 5, "num_starts": 4 if quick else 16,
            "num_steps": 300 if quick else 2000,
        },
        "longer": 1000 if quick else 40_000,
    }  # fmt: skip
    c.run = {"num_steps": 2 if quick else 4, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": True}
    return c
