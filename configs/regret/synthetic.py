"""The paper's synthetic law: regret in six groups over 100,000 rounds, ten shuffles, float32. Label: mean.

  python -m experiments.regret.synthetic                                              # 10 s on two CPU cores
  python -m experiments.regret.synthetic --config=configs/regret/synthetic.py:min     # or max, dperm
Expected (mean): regret of always_on 0.76 (one online ridge), -39.9 (the paper's ANH), -43.6 (specialist AA).
Figures: regret/fig_synthetic, regret/tab_synthetic_regret. Smoke: ":quick" or ":min,quick".
"""

import ml_collections as mlc

ARGS = ("quick", "mean", "min", "max", "dperm")

METHODS = (
    "baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "anh_mean_unclipped", "aa", "ewa", "smallest_group",
    "uniform",
)  # fmt: skip


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    quick = "quick" in given
    label = next((word for word in given if word != "quick"), "mean")
    c = mlc.ConfigDict({"experiment": "regret.synthetic", "seed": 0, "data": ""})
    c.problem = {"label": label, "num_rows": 100_000}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 100_352, "chunk": 2048, "replicates": 10, "oracle_points": 49}
    if quick:
        c.run.update({"num_steps": 8192, "chunk": 512, "replicates": 4, "oracle_points": 16})
    return c
