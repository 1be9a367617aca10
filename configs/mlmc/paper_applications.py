"""The published basket put, 500 x 10,000 replicates and more at r = 0.6, and the other applications at that size.

  python -m experiments.mlmc.applications --config=configs/mlmc/paper_applications.py     # minutes on two CPU cores
Expected: the basket at 2.162 +- 0.02; all others within four standard errors of their exact values. Smoke: ":quick".
"""

import ml_collections as mlc

#: case: kind, arguments, r, b, replicates in a block
CASES = {
    "put": ("put", {"exercises": 3}, (0.6, 0.57, 0.54), (0, 0, 0), 4096),
    "geometric": ("put", {"exercises": 3, "assets": 5, "mean": "geometric"}, (0.6, 0.57, 0.54), (0, 0, 0), 4096),
    "basket": ("put", {"exercises": 3, "assets": 5}, (0.6, 0.6, 0.6), (0, 0, 0), 16384),
    "options": (
        "linear",
        {"intercepts": (0.0, 0.1, -0.2, 0.3), "slopes": (0.0, 1.0, 2.0, -0.5), "noise": (0.0, 1.0, 0.5, 1.0)},
        (0.6,), (2,), 16384,
    ),
    "health": ("health", {}, (0.6,), (3,), 16384),
    "credit": ("forward", {}, (0.6,), (2,), 16384),
    "gain": ("experiment", {"design": ((1.0, 0.5), (0.2, -1.0)), "scale": (1.0, 2.0)}, (0.65,), (2,), 16384),
}  # fmt: skip


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.applications", "seed": 0, "data": ""})
    c.cases = {
        name: {
            "kind": kind, "arguments": arguments, "r": r, "b": b, "block": 512 if quick else block,
            "estimator": "single",
        }
        for name, (kind, arguments, r, b, block) in CASES.items()
    }  # fmt: skip
    c.regression = {"fit_paths": 5000 if quick else 200_000, "fresh_paths": 20_000 if quick else 2_000_000}
    c.levels = {
        "loss": {"kind": "loss", "arguments": {}, "tolerance": 0.02 if quick else 0.001, "max_level": 12,
                 "initial": 1000, "runs": 2 if quick else 8},
    }  # fmt: skip
    c.run = {"num_steps": 16 if quick else 80, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": False}
    return c
