"""Medical costs as published: ten shuffles, lambda = 1, float64. `acharya:24`, Section 4.

  python -m experiments.regret.medical --config=configs/regret/paper_medical.py        # 10 s on two CPU cores
Expected: the published regrets to 0.001 (young, old, male: 0.004, since their published losses in hindsight lie above
the least squares minimum by up to 0.003). Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.medical", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 96 if arg == "quick" else 16, "replicates": 10, "oracle_points": 84}
    c.numerics = {"x64": True}
    return c
