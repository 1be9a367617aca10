"""The ablation with a finer grid of lambda, the paper's ten shuffles. Figure: regret/fig_ablation, paper form.

  python -m experiments.regret.ablation --config=configs/regret/paper_ablation.py         # 30 s on two CPU cores
Expected: as configs/regret/ablation.py. Smoke: append ":quick".
"""

import ml_collections as mlc

GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.ablation", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "regularization": GRID, "step_sizes": (0.03, 0.1, 0.3, 1.0), "form": "square_root", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 1344, "replicates": 2 if arg == "quick" else 10}
    c.numerics = {"x64": True}
    return c
