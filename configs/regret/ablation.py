"""One choice of the group learner changed at a time, medical costs, ten shuffles. Figure: regret/fig_ablation; table:
regret/tab_ablation_loss.

  python -m experiments.regret.ablation                   # 25 s on two CPU cores, nearly all of it compilation

Expected, loss of everybody: default 7.98, AA 8.06, the paper's choices 8.67, one online ridge 13.23.
Smoke: --config=configs/regret/ablation.py:quick (five shuffles).
"""

import ml_collections as mlc


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.ablation", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "regularization": (0.01, 0.1, 1.0, 10.0, 100.0), "step_sizes": (0.03, 0.1, 0.3, 1.0), "form": "blocked",
        "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 1344, "replicates": 5 if arg == "quick" else 10}
    c.numerics = {"x64": True}
    return c
