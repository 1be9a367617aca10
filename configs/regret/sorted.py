"""Drifting orders, ten shuffles sorted stably: the synthetic law by color (red first), or UCI Adult by age.

  python -m experiments.regret.sorted                                           # 10 s on two CPU cores; label mean
  python -m experiments.regret.sorted --config=configs/regret/sorted.py:min     # or max, dperm, adult, adult_descending
Expected (mean): loss of always_on 89.9 (one online ridge), 47.1 (the paper's ANH), 41.8 (specialist AA).
In float64: while the rows of one group come, float32 loses the directions of the others, up to 4e-4 of the loss in the
blocked form and 8 % in the form recursion (dperm).
Figures: regret/fig_sorted, regret/fig_sorted_adult.
Smoke: ":quick" or ":min,quick" (four shuffles of 8,192 rows, 6,144 of Adult).
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
        "num_steps": 49_152 if on_adult else 100_352, "chunk": 1024 if on_adult else 2048, "replicates": 10,
        "oracle_points": 8,
    }  # fmt: skip
    c.numerics = {"x64": True}
    if "quick" in given:
        c.run.update({"num_steps": 6144 if on_adult else 8192, "chunk": 512, "replicates": 4})
    return c
