"""The three published problems with the paper's settings: 20 repetitions of 1e6 replicates, NMC1 to 400**3 leaves, NMC2
to 100**4; ":t" and ":sigmoid" to 2e6 replicates.

  python -m experiments.mlmc.rates --config=configs/mlmc/paper_published.py        # 10 min on two CPU cores
Expected: as `published`, four times closer. Figure: mlmc/fig_published. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "t", "sigmoid")
NAMES = {"t": "T", "sigmoid": "E3"}


def get_config(arg=""):
    words = arg.split(",")
    quick, case = "quick" in words, next((word for word in words if word in NAMES), "")
    c = mlc.ConfigDict({"experiment": "mlmc.rates", "seed": 0, "data": ""})
    c.problem = {"name": NAMES.get(case, "E1")}
    c.algo = {"r": (0.74, 0.6), "b": (0, 0), "block": 1024, "estimator": "single", "leaves": "random"}
    equal, square = (10, 25, 50, 100, 200, 400), (4, 8, 16, 32, 64, 100)
    sizes = ((), ()) if case else (equal[:3], square[:3]) if quick else (equal, square)
    c.nested = {"equal": sizes[0], "square": sizes[1], "best": (), "variance": 1.0, "bias": 1.0}
    c.run = {"num_steps": 32 if quick else (1953 if case else 977), "chunk": 1, "replicates": 8 if quick else 20}
    c.numerics = {"x64": False}
    return c
