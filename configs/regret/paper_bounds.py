"""The bounds on 2,000 longer instances. Figure: regret/fig_bounds, paper form.

  python -m experiments.regret.bounds --config=configs/regret/paper_bounds.py             # 2 min on two CPU cores
Expected: no ratio above 1. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "regret.bounds", "seed": 0, "data": ""})
    c.problem = {"groups": 12, "features": 6, "hypotheses": 6}
    c.run = {"num_steps": 64 if quick else 2048, "chunk": 64 if quick else 256, "replicates": 200 if quick else 2000}
    c.numerics = {"x64": True}
    return c
