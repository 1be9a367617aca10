"""Distributionally robust logistic regression, 1,000 epochs and 256 seeds.

  python -m experiments.halpern.robust --config=configs/halpern/robust_pod.py --mesh=rep:-1
Expected: as the paper's form, with narrow intervals. Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "cancer")


def get_config(arg=""):
    given = arg.split(",")
    quick, cancer = "quick" in given, "cancer" in given
    c = mlc.ConfigDict({"experiment": "halpern.robust", "seed": 0, "data": "samples"})
    c.problem = {
        "source": "breast_cancer" if cancer else "digits", "scale": 30.0 if cancer else 50.0, "penalty": 0.01,
        "spread": 1.0, "shift": 0.0 if cancer else -0.3, "accuracy": 1e-2,
         "epochs": (2, 5, 10, 20) if quick else (2, 5, 10, 20, 50, 100, 200, 400, 700, 1000),
    }  # fmt: skip
    c.algo = {"methods": ("eg", "vr_forb", "vr_eg_bold") if quick
              else ("eg", "forb", "vr_eg", "vr_forb", "vr_eg_bold", "alg2", "restarted")}  # fmt: skip
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 256, "stride": 256}
    c.numerics = {"x64": quick}
    return c
