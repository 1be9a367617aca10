"""Online shortest paths at slice scale: 4,096 instances on a 32 x 32 grid, nine groups and everybody, float32.

  python -m experiments.regret.paths --config=configs/regret/paths_pod.py --mesh=rep:-1
  python -m experiments.aot --config=configs/regret/paths_pod.py --topology=v5e:16x16   # fits? how long?
Expected: regrets below their bounds in every group, with intervals twenty times narrower than the default's.
Sums of 16,384 costs keep four digits after the point in float32. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "regret.paths", "seed": 0, "data": ""})
    c.problem = {"law": "drift", "side": 32, "attributes": (2, 3, 4), "drift": 1.0}
    c.algo = {"perturbations": (1.0, 0.1, 0.0)}
    c.run = {"num_steps": 16_384, "chunk": 256, "replicates": 4096}
    if arg == "quick":
        c.problem.side = 8
        c.run.update({"num_steps": 512, "replicates": 8})
    return c
