"""rho(eps, delta) against 10^5 long climbs at every pair.

  python -m experiments.matching.rho --config=configs/matching/rho_pod.py --mesh=rep:-1
Expected: nothing below 0.678965 at (.11, .18) by more than rounding (1e-6 in float32). Smoke: append ":quick".
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
            "num_nodes": 3 if quick else 5, "num_starts": 4 if quick else 64,
            "num_steps": 300 if quick else 4000,
        },
        "longer": 1000 if quick else 10_000,
    }  # fmt: skip
    c.run = {"num_steps": 2 if quick else 4, "chunk": 1, "replicates": 2 if quick else 256}
    c.numerics = {"x64": quick}
    return c
