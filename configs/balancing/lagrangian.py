"""The dual value from update to update: sign and proportional steps, three schedules, 32 instances of fixed scores.

  python -m experiments.balancing.lagrangian                                   # 15 s on two CPU cores
Expected: the identity holds to 1e-12; equal loads have no gap; shrinking proportional steps close it.
Figure: balancing/fig_lagrangian. Smoke: append ":quick".
"""

import ml_collections as mlc

ROWS = (
    "sign const 0.03", "sign inv 0.5", "sign inv_sqrt 0.2", "prop const 1", "prop inv 8", "prop inv_sqrt 3",
)  # fmt: skip


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.lagrangian", "seed": 0, "data": ""})
    c.problem = {
        "kinds": ("normal", "uniform", "logistic", "gumbel"), "tokens": 64, "experts": 4, "top_k": 2,
        "spread": 0.5, "uneven": 0.5,
    }  # fmt: skip
    c.algo = {"rows": ROWS}
    c.run = {"num_steps": 48 if quick else 400, "chunk": 1, "replicates": 8 if quick else 32}
    c.numerics = {"x64": True}
    return c
