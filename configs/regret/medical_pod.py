"""Medical costs at slice scale: 4,096 shuffles, so that the spread over orders is known to one percent.

  python -m experiments.regret.medical --config=configs/regret/medical_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/medical_pod.py --topology=v5e:16x16   # fits? how long?
Expected: the intervals of configs/regret/medical.py, twenty times narrower. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa")


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.medical", "seed": 0, "data": "insurance"})
    c.problem = {"source": "published"}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "blocked", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 1344, "chunk": 96, "replicates": 8 if arg == "quick" else 4096, "oracle_points": 2}
    return c
