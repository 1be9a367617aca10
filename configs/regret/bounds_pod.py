"""A search for a counterexample at slice scale: 16,384 instances of 2,048 rounds, float32.

  python -m experiments.regret.bounds --config=configs/regret/bounds_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/bounds_pod.py --topology=v5e:16x16   # fits? how long?
Expected: no ratio above 1 by more than rounding (1e-4 in float32). Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "regret.bounds", "seed": 1, "data": ""})
    c.problem = {"groups": 16, "features": 8, "hypotheses": 8}
    c.run = {"num_steps": 2048, "chunk": 256, "replicates": 16_384}
    if quick:
        c.run.update({"num_steps": 64, "chunk": 32, "replicates": 64})
    return c
