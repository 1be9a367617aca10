"""Error against cost, to a hundred times the leaves: B2, ":d1" A1, ":d3" C1.

  python -m experiments.mlmc.rates --config=configs/mlmc/paper_rates.py   # 20 min on two CPU cores
Expected: mean squared errors fall as the cost to the powers -1 (READ), and -1/3 and -1/2 (NMC1 and NMC2 at D = 2).
Figure: mlmc/fig_rates. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "d1", "d3")

#: name, r, b, replicates in a block, sizes of NMC1, of NMC2
CASES = {
    "": ("B2", (0.65, 0.58), (2, 0), 1024, (5, 13, 32, 80, 160, 320), (3, 6, 12, 24, 40, 70)),
    "d1": ("A1", (0.62,), (0,), 1024, (10, 46, 220, 1000, 4600), (5, 13, 36, 100, 270)),
    "d3": ("C1", (0.65, 0.58, 0.54), (2, 2, 1), 64, (3, 6, 11, 22, 40, 70), (2, 4, 6, 11, 17, 26)),
}  # fmt: skip
#: Of the best allocation at depth 1: budgets in leaves, variance of the outer values, bias with one inner sample.
BEST = ((100, 2500, 62500, 1_500_000, 20_000_000), 3.0, 1.0)


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
    c.run = {"num_steps": 32 if quick else 4096, "chunk": 1, "replicates": 8 if quick else 40}
    c.numerics = {"x64": False}
    return c
