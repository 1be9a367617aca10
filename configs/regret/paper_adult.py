"""UCI Adult, every point of the curves: ten shuffles, lambda = 1. The protocol is that of `acharya:24`, Section 4.

  python -m experiments.regret.adult --config=configs/regret/paper_adult.py                  # 2 min on two CPU cores
  python -m experiments.regret.adult --config=configs/regret/paper_adult.py:reconstruction --adult_reconstruction=PATH
Expected: on the reconstruction the published regrets; on UCI Adult the losses of configs/regret/adult.py.
Smoke: ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "reconstruction")

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    reconstruction = "reconstruction" in given
    data = "adult_reconstruction" if reconstruction else "adult"
    c = mlc.ConfigDict({"experiment": "regret.adult", "seed": 0, "data": data})
    c.problem = {"source": "reconstruction" if reconstruction else "uci"}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "compacted", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 50_176 if reconstruction else 49_152, "chunk": 512, "replicates": 10, "oracle_points": 96}
    c.numerics = {"x64": True}
    if "quick" in given:
        c.run.update({"num_steps": 6144, "replicates": 4})
    return c
