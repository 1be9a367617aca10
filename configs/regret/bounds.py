"""Every bound against 250 random and adversarial instances, after every round, in float64. Figure: regret/fig_bounds.

  python -m experiments.regret.bounds                     # 20 s on two CPU cores, most of it compilation

Expected, largest measured/bound (none above 1): T1 0.71, T2 0.993, T3 0.992, T4 0.990 (AA) and 0.985 (EWA), T6 0.48
(Blum-Lykouris) and 0.61 (multiplicative weights).
Smoke: --config=configs/regret/bounds.py:quick (200 instances of 96 rounds).
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "regret.bounds", "seed": 0, "data": ""})
    c.problem = {"groups": 8, "features": 5, "hypotheses": 4}  # at most, on one instance
    c.run = {"num_steps": 96 if quick else 512, "chunk": 32 if quick else 128, "replicates": 200 if quick else 250}
    c.numerics = {"x64": True}
    return c
