"""The trade-off on Adult at slice scale: 1,024 random starts per strength of the penalty, a grid of 17 strengths.

  python -m experiments.regret.fairness --config=configs/regret/fairness_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/fairness_pod.py --topology=v5e:16x16   # fits? how long?
Expected: the points of configs/regret/fairness.py with intervals sixteen times narrower. Smoke: append ":quick".
"""

import ml_collections as mlc

GRID = (
    0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.fairness", "seed": 0, "data": "adult"})
    c.problem = {"source": "uci", "num_rows": 32_561}
    c.algo = {
        "fairness": {"aranyani": GRID, "mlp": GRID, "reservoir": (0.1, 0.3, 1.0, 3.0, 10.0)}, "step_size": 2e-3,
        "depth": 4, "num_trees": 3, "width": 16, "capacity": 512,
    }  # fmt: skip
    c.run = {"num_steps": 32_768, "chunk": 2048, "replicates": 1024}
    if arg == "quick":
        c.problem.num_rows = 2048
        c.algo.capacity = 32
        c.run.update({"num_steps": 2048, "chunk": 1024, "replicates": 8})
    return c
