"""The trade-off on Adult with the authors' settings and their grid of penalties, ten random starts.

  python -m experiments.regret.fairness --config=configs/regret/paper_fairness.py          # 3 min on two CPU cores
Expected (accuracy / gap): .836 / .193 without penalty, .817 / .100 at strength 1, .789 / .036 at strength 10, each
within the spread of a few starts. Smoke: append ":quick".
"""

import ml_collections as mlc

GRID = (0.0, 0.1, 0.3, 0.5, 1.0, 5.0, 10.0, 100.0)


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.fairness", "seed": 0, "data": "adult"})
    c.problem = {"source": "uci", "num_rows": 32_561}
    c.algo = {
        "fairness": {"aranyani": GRID, "mlp": GRID, "reservoir": GRID[1:]}, "step_size": 2e-3, "depth": 4,
        "num_trees": 3, "width": 16, "capacity": 64,
    }  # fmt: skip
    c.run = {"num_steps": 32_768, "chunk": 1024, "replicates": 10}
    if arg == "quick":
        c.problem.num_rows = 2048
        c.run.update({"num_steps": 2048, "replicates": 2})
    return c
