"""The ablation at slice scale: 4,096 shuffles, so that differences of a thousandth can be told from chance.

  python -m experiments.regret.ablation --config=configs/regret/ablation_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/ablation_pod.py --topology=v5e:16x16   # fits? how long?
Expected: the intervals of configs/regret/ablation.py, twenty times narrower. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.ablation", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "regularization": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0), "step_sizes": (0.03, 0.1, 0.3, 1.0),
        "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 1344, "replicates": 8 if arg == "quick" else 4096}
    return c
