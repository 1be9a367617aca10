"""The three published problems, smaller: E1 (sines of a Gaussian walk), ":t" (t noise), ":sigmoid".

  python -m experiments.mlmc.rates --config=configs/mlmc/published.py     # 20 s on two CPU cores
Expected: E1, 0.60653066: READ's slope -1, nested Monte Carlo's near -1/3 and -1/2 although this problem flatters it
(its inner biases cancel by symmetry). t noise 0.26111366, sigmoid 0.61217889.
Figure: mlmc/fig_published. Smoke: append "quick".
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
    equal, square = ((10, 16, 25), (4, 6, 8)) if quick else ((10, 16, 25, 40, 63, 100), (4, 8, 12, 16, 24, 32))
    sizes = ((), ()) if case else (equal, square)
    c.nested = {"equal": sizes[0], "square": sizes[1], "best": (), "variance": 1.0, "bias": 1.0}
    c.run = {"num_steps": 32 if quick else 128, "chunk": 1, "replicates": 8 if quick else 20}
    c.numerics = {"x64": False}
    return c
