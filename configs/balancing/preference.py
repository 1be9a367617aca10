"""Every switch of tokens between experts by loads, of 32 instances and six rules.

  python -m experiments.balancing.preference                                   # 15 s on two CPU cores
Expected: no switch against the preference: from more loaded experts to less loaded ones only.
Figure: balancing/fig_preference. Smoke: append ":quick".
"""

import ml_collections as mlc

ROWS = (
    "sign const 0.03", "sign inv 0.5", "sign inv_sqrt 0.2", "prop const 1", "prop inv 8", "prop inv_sqrt 3",
)  # fmt: skip


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.preference", "seed": 0, "data": ""})
    c.problem = {
        "kinds": ("normal", "uniform", "logistic", "gumbel"), "tokens": 64, "experts": 4, "top_k": 2,
        "spread": 0.5, "uneven": 0.5, "differences": (-8, 40),
    }  # fmt: skip
    c.algo = {"rows": ROWS}
    c.run = {"num_steps": 64 if quick else 512, "chunk": 32, "replicates": 8 if quick else 32}
    c.numerics = {"x64": True}
    return c
