"""Regret of online balancing against theory, 200 seeds: a Gumbel router; ":uniform", ":normal", ":logistic".

  python -m experiments.balancing.regret                                       # 20 s on two CPU cores
  python -m experiments.balancing.regret --config=configs/balancing/regret.py:uniform
Expected: slopes in ln n within 15 % of their limits, other schedules within 20 % of their leading orders.
Figure: balancing/fig_regret. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "uniform", "normal", "logistic")

#: Experts, K, T, standard deviation of the locations.
SIZES = {
    "gumbel": (8, 1, 256, 0.3),
    "uniform": (6, 2, 64, 0.05),
    "normal": (8, 2, 64, 0.2),
    "logistic": (12, 8, 32, 0.3),
}
ROWS = (
    "prop inv_offset 1", "prop inv_offset 2", "prop const 0.05", "prop inv_sqrt 0.5", "sign const 0.05",
    "sign inv_sqrt 0.5", "none",
)  # fmt: skip
QUICK = ("prop inv_offset 1", "prop const 0.05", "none")


def get_config(arg=""):
    words = arg.split(",")
    quick, kind = "quick" in words, next((word for word in words if word in SIZES), "gumbel")
    c = mlc.ConfigDict({"experiment": "balancing.regret", "seed": 0, "data": ""})
    experts, top_k, tokens, spread = SIZES[kind]
    c.problem = {
        "kind": kind, "experts": experts, "top_k": top_k, "tokens": tokens, "spread": spread, "instance_seed": 0,
    }  # fmt: skip
    c.algo = {"rows": QUICK if quick else ROWS, "offset": 2.0}
    c.run = {
        "num_steps": 64 if quick else 1024, "chunk": 8 if quick else 32,
        "replicates": 8 if quick else 200,
    }  # fmt: skip
    c.numerics = {"x64": True}
    return c
