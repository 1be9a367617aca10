"""Online shortest paths on a 10 x 10 grid, five overlapping groups and everybody, drifting costs, 8,192 rounds.

  python -m experiments.regret.paths                                                  # 20 s on two CPU cores
  python -m experiments.regret.paths --config=configs/regret/paths.py:alternating     # the adversarial stream
Expected: every group's regret below its bound, the leader of everybody 72 times.
Figure: regret/fig_paths. Smoke: ":quick" or ":alternating,quick".
"""

import ml_collections as mlc

ARGS = ("quick", "alternating")


def get_config(arg=""):
    given = arg.split(",")
    c = mlc.ConfigDict({"experiment": "regret.paths", "seed": 0, "data": ""})
    c.problem = {"law": "drift", "side": 10, "attributes": (2, 3), "drift": 1.0}
    c.algo = {"perturbations": (1.0, 0.1, 0.0)}
    c.run = {"num_steps": 8192, "chunk": 256, "replicates": 8}
    c.numerics = {"x64": True}
    if "alternating" in given:
        c.problem.update({"law": "alternating", "side": 4})
    if "quick" in given:
        c.run.update({"num_steps": 2048, "replicates": 4})
    return c
