"""The synthetic law at slice scale: 2,048 shuffles of 100,000 rounds.

  python -m experiments.regret.synthetic --config=configs/regret/synthetic_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/synthetic_pod.py --topology=v5e:16x16   # fits? how long?
Expected: the intervals of configs/regret/synthetic.py, fourteen times narrower. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.synthetic", "seed": 0, "data": ""})
    c.problem = {"label": "mean", "num_rows": 100_000}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 100_352, "chunk": 2048, "replicates": 2048, "oracle_points": 2}
    if arg == "quick":
        c.run.update({"num_steps": 4096, "replicates": 8})
    return c
