"""Applications of READ: Bermudan puts, information for decisions, credit valuation adjustment, information gain.

  python -m experiments.mlmc.applications                    # a minute on two CPU cores, most of it compiling
Expected: every estimate within four standard errors of its exact value; rules by regression stay below; with a jump the
variances of levels fall as 2 to the power -1/2 only. Figure: mlmc/fig_applications. Smoke: append ":quick".
"""

import ml_collections as mlc

#: case: kind, arguments, r, b, replicates in a block
CASES = {
    "geometric": ("put", {"exercises": 2, "assets": 5, "mean": "geometric"}, (0.6, 0.57), (0, 0), 4096),
    "basket": ("put", {"exercises": 3, "assets": 5}, (0.6, 0.57, 0.54), (0, 0, 0), 1024),
    "health": ("health", {}, (0.6,), (3,), 2048),
    "credit": ("forward", {}, (0.6,), (2,), 8192),
    "gain": ("experiment", {"design": ((1.0, 0.5), (0.2, -1.0)), "scale": (1.0, 2.0)}, (0.65,), (2,), 8192),
}  # fmt: skip
#: A put less and one date for the other: most of a short run is compiling.
QUICK = {"basket": ("put", {"exercises": 1, "assets": 5}, (0.6,), (0,), 4096)} | {
    case: CASES[case] for case in ("health", "credit", "gain")
}


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.applications", "seed": 0, "data": ""})
    c.cases = {
        name: {
            "kind": kind, "arguments": arguments, "r": r, "b": b, "block": block // 8 if quick else block,
            "estimator": "single",
        }
        for name, (kind, arguments, r, b, block) in (QUICK if quick else CASES).items()
    }  # fmt: skip
    c.regression = {"fit_paths": 5000 if quick else 50_000, "fresh_paths": 20_000 if quick else 200_000}
    c.levels = {
        "loss": {"kind": "loss", "arguments": {}, "tolerance": 0.02 if quick else 0.005, "max_level": 10,
                 "initial": 1000, "runs": 2 if quick else 8},
    }  # fmt: skip
    c.run = {"num_steps": 16, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": False}
    return c
