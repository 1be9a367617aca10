"""Accuracy against the demographic-parity gap on Adult's 32,561 training records, four random starts per point.

  python -m experiments.regret.fairness                                   # 35 s on two CPU cores
Expected (accuracy / gap): .834 / .190 without penalty, .819 / .091 at strength 1, .794 / .048 at strength 10.
Figure: regret/fig_fairness. Smoke: append ":quick" (the first 4,096 records).
"""

import ml_collections as mlc

GRID = (0.0, 0.1, 0.3, 0.5, 1.0, 5.0, 10.0, 100.0)


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.fairness", "seed": 0, "data": "adult"})
    c.problem = {"source": "uci", "num_rows": 32_561}
    c.algo = {
        "fairness": {"aranyani": GRID, "mlp": GRID, "reservoir": (0.1, 1.0, 10.0)}, "step_size": 2e-3, "depth": 4,
        "num_trees": 3, "width": 16, "capacity": 64,
    }  # fmt: skip
    c.run = {"num_steps": 32_768, "chunk": 2048, "replicates": 4}
    if arg == "quick":
        c.problem.num_rows = 4096
        c.algo.capacity = 32
        c.run.update({"num_steps": 4096, "chunk": 512})
    return c
