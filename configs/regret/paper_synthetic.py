"""The synthetic data as published: ten shuffles of 100,000 rounds, lambda = 1. `acharya:24`, Section 4.

  python -m experiments.regret.synthetic --config=configs/regret/paper_synthetic.py          # 30 s on two CPU cores
  python -m experiments.regret.synthetic --config=configs/regret/paper_synthetic.py:min      # or max, dperm
Expected: the published regrets to 0.01. Smoke: append ":quick" or ",quick".
"""

import ml_collections as mlc

ARGS = ("quick", "mean", "min", "max", "dperm")

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    label = next((word for word in given if word != "quick"), "mean")
    c = mlc.ConfigDict({"experiment": "regret.synthetic", "seed": 0, "data": ""})
    c.problem = {"label": label, "num_rows": 100_000}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 100_352, "chunk": 1024, "replicates": 10, "oracle_points": 98}
    if "quick" in given:
        c.run.update({"num_steps": 8192, "replicates": 4})
    return c
