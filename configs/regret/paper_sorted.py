"""Drifting orders as published: ten shuffles sorted by color, lambda = 1. `acharya:24`, Section 4 (sorted data).

  python -m experiments.regret.sorted --config=configs/regret/paper_sorted.py           # 30 s on two CPU cores
  python -m experiments.regret.sorted --config=configs/regret/paper_sorted.py:min       # or max, dperm, adult, ...
Expected: the published losses of always_on to 0.02 (0.1 from 100 on, as they are printed). Smoke: ":quick" or ",quick".
"""

import ml_collections as mlc

ARGS = ("quick", "mean", "min", "max", "dperm", "adult", "adult_descending")

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    question = next((word for word in given if word != "quick"), "mean")
    on_adult = question in ("adult", "adult_descending")
    c = mlc.ConfigDict({"experiment": "regret.sorted", "seed": 0, "data": "adult" if on_adult else ""})
    if on_adult:
        c.problem = {"data_set": "adult", "source": "uci", "descending": question == "adult_descending"}
    else:
        c.problem = {"data_set": "synthetic", "label": question, "num_rows": 100_000}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge",
        "form": "compacted" if on_adult else "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {
        "num_steps": 49_152 if on_adult else 100_352, "chunk": 512 if on_adult else 1024, "replicates": 10,
        "oracle_points": 16,
    }  # fmt: skip
    c.numerics = {"x64": True}
    if "quick" in given:
        c.run.update({"num_steps": 6144 if on_adult else 8192, "replicates": 4})
    return c
