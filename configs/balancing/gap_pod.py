"""Dual gap against sweeps: bias updates, the quantile dual and Sinkhorn; T = 65,536, E = 256, K = 8.

  python -m experiments.balancing.gap --config=configs/balancing/gap_pod.py --mesh=rep:-1
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
        "tokens": 256 if quick else 65536, "experts": 8 if quick else 256, "top_k": 2 if quick else 8,
    }  # fmt: skip
    c.algo = {
        "rows": ROWS, "width": 0.05, "exact": 64, "temperatures": (0.01, 0.1), "doublings": 3 if quick else 9,
    }  # fmt: skip
    c.run = {
        "num_steps": 16 if quick else 1024,
        "chunk": 1,
        "replicates": 2 if quick else 256,
        "timings": 1 if quick else 20,
        "solve": quick,
    }
    c.numerics = {"x64": quick}
    return c
