"""The instance built against the rounding: simulated value over the LP for m exhausted nodes, beside its closed form.

  python -m experiments.matching.worst_case                                  # 30 s on two CPU cores
Expected at s = .724: 0.6796 scaled and 0.6495 unscaled with m = 200; the formula falls to rho = 0.67897 and, at
s = 1, to 1 - 1/e. Figure: matching/fig_worst_case. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.worst_case", "seed": 0, "data": ""})
    c.problem = {
        "exhausted": (10, 50) if quick else (10, 50, 200),
        "poisson": (0.0, 0.2, 0.4, 0.724, 1.0) if quick else (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.724, 0.8, 0.9, 1.0),
        "eta": 1e-7,
    }  # fmt: skip
    c.algo = {"eps": 0.11, "delta": 0.18}
    c.run = {"num_steps": 1024 if quick else 8192, "chunk": 128, "replicates": 8}
    return c
