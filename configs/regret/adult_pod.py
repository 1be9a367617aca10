"""UCI Adult at slice scale: 512 shuffles of 48,842 people.

  python -m experiments.regret.adult --config=configs/regret/adult_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/adult_pod.py --topology=v5e:16x16   # fits? how long?
Expected: the intervals of configs/regret/adult.py, seven times narrower. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.adult", "seed": 0, "data": "adult"})
    c.problem = {"source": "uci"}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 49_152, "chunk": 1024, "replicates": 512, "oracle_points": 2}
    if arg == "quick":
        c.run.update({"num_steps": 4096, "replicates": 8})
    return c
