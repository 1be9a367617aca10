"""Medical costs, twelve groups, the paper's ten shuffles. Figure: regret/fig_medical.

  python -m experiments.regret.medical                    # 10 s on two CPU cores
Smoke: --config=configs/regret/medical.py:quick (three shuffles).
"""

import ml_collections as mlc


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.medical", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "methods": (
            "baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "anh_mean_unclipped", "aa", "ewa",
            "smallest_group", "uniform",
        ),
        "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 32, "replicates": 3 if arg == "quick" else 10, "oracle_points": 42}
    c.numerics = {"x64": True}
    return c
