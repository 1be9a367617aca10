"""Largest deviation of loads under the sign rule against the band they settle in, four step sizes, 32 instances.

  python -m experiments.balancing.settling                                     # 20 s on two CPU cores
Expected: never outside the band from N0 on. Band and N0 are far from tight.
Figure: balancing/fig_settling. Smoke: append ":quick".
"""

import ml_collections as mlc

STEP_SIZES, SMALL = (0.1, 0.03, 0.01, 0.003), (0.2, 0.1)


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.settling", "seed": 0, "data": ""})
    c.problem = {
        "kinds": ("normal", "uniform", "logistic", "gumbel"), "tokens": 32, "experts": 4, "top_k": 2,
        "spread": 0.5, "uneven": 0.5,
    }  # fmt: skip
    c.algo = {"rows": tuple(f"sign const {u}" for u in (SMALL if quick else STEP_SIZES))}
    c.run = {"num_steps": 512 if quick else 8192, "chunk": 32, "replicates": 8 if quick else 32}
    c.numerics = {"x64": True}
    return c
