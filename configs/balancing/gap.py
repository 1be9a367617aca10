"""Dual gap against sweeps: bias updates, the quantile dual, Sinkhorn, a linear program; T = 1,024, E = 32, K = 4.

  python -m experiments.balancing.gap                                          # 30 s on two CPU cores
Expected: the quantile dual is at a relative gap of 1e-5 within five sweeps; constant steps never get there.
Figure: balancing/fig_gap. Smoke: append ":quick".
"""

import ml_collections as mlc

ROWS = ("sign const 0.01", "sign inv_sqrt 0.1", "prop const 0.1", "prop const 1", "prop inv_sqrt 1")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.gap", "seed": 0, "data": ""})
    c.problem = {
        "kinds": ("normal", "uniform", "logistic", "gumbel"), "spread": 0.5, "uneven": 0.5,
        "tokens": 256 if quick else 1024, "experts": 8 if quick else 32, "top_k": 2 if quick else 4,
    }  # fmt: skip
    c.algo = {
        "rows": ROWS, "width": 0.05, "exact": 64, "temperatures": (0.01, 0.1), "doublings": 3 if quick else 7,
    }  # fmt: skip
    c.run = {
        "num_steps": 16 if quick else 128,
        "chunk": 1,
        "replicates": 2 if quick else 3,
        "timings": 1 if quick else 5,
        "solve": True,
    }
    c.numerics = {"x64": True}
    return c
