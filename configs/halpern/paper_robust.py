"""Distributionally robust logistic regression, 300 epochs and 20 seeds; ":cancer" on breast cancer.

  python -m experiments.halpern.robust --config=configs/halpern/paper_robust.py          # 15 min on two CPU cores
Expected: the saddle value of digits (unshifted) is 0.5753363625, which VR-EG reaches. Smoke: append ":quick".
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
         "epochs": (2, 5, 10, 20) if quick else (2, 5, 10, 20, 40, 60, 80, 100, 150, 200, 250, 300),
    }  # fmt: skip
    c.algo = {"methods": ("eg", "vr_forb", "vr_eg_bold") if quick
              else ("eg", "forb", "vr_eg", "vr_forb", "vr_eg_bold", "alg2", "restarted")}  # fmt: skip
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 20, "stride": 256}
    c.numerics = {"x64": True}
    return c
