"""Error against cost of READ and nested Monte Carlo: B2 (two nestings), ":d1" A1 (one), ":d3" C1 (three).

  python -m experiments.mlmc.rates                                        # 20 s on two CPU cores
  python -m experiments.mlmc.rates --config=configs/mlmc/rates.py:d1
Expected: mean squared errors fall as the cost to the powers -1 (READ), and -1/3 and -1/2 (NMC1 and NMC2 at D = 2).
Figure: mlmc/fig_rates. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "d1", "d3")

#: name, r, b, replicates in a block, sizes of NMC1, of NMC2
CASES = {
    "": ("B2", (0.65, 0.58), (2, 0), 1024, (5, 8, 13, 20, 32, 50, 80), (3, 4, 6, 8, 12, 17, 24)),
    "d1": ("A1", (0.62,), (0,), 1024, (10, 22, 46, 100, 220, 460), (5, 8, 13, 22, 36, 60)),
    "d3": ("C1", (0.65, 0.58, 0.54), (2, 2, 1), 64, (3, 4, 6, 8, 11, 16, 22), (2, 3, 4, 5, 6, 8, 11)),
}  # fmt: skip
#: Of the best allocation at depth 1: budgets in leaves, variance of the outer values, bias with one inner sample.
BEST = ((100, 500, 2500, 12500, 62500, 300000), 3.0, 1.0)


def get_config(arg=""):
    words = arg.split(",")
    quick, case = "quick" in words, next((word for word in words if word in CASES), "")
    name, r, b, block, equal, square = CASES[case]
    budgets, variance, bias = BEST
    c = mlc.ConfigDict({"experiment": "mlmc.rates", "seed": 0, "data": ""})
    c.problem = {"name": name}
    c.algo = {"r": r, "b": b, "block": block, "estimator": "single", "leaves": "random"}
    kept = 4 if quick else None
    best = budgets[:kept] if len(r) == 1 else ()
    c.nested = {"equal": equal[:kept], "square": square[:kept], "best": best, "variance": variance, "bias": bias}
    c.run = {"num_steps": 32 if quick else 128, "chunk": 1, "replicates": 8 if quick else 40}
    c.numerics = {"x64": False}
    return c
