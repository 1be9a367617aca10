"""Medical costs: regret in twelve groups, the paper's ten shuffles of 1,338 people, float64.

  python -m experiments.regret.medical                                       # 10 s on two CPU cores
Expected: regret of always_on after all rounds 1.12 (one online ridge), -3.44 (the paper's ANH), -4.05 (specialist AA).
Figures: regret/fig_medical, regret/fig_intro, regret/tab_medical_regret. Smoke: append ":quick" (fewer points).
"""

import ml_collections as mlc

METHODS = (
    "baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "anh_mean_unclipped", "aa", "ewa", "smallest_group",
    "uniform",
)  # fmt: skip


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "regret.medical", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 96 if quick else 32, "replicates": 10, "oracle_points": 14 if quick else 42}
    c.numerics = {"x64": True}
    return c
