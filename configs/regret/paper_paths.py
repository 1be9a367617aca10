"""Online shortest paths on a 10 x 10 grid over 32,768 rounds, 32 instances.

  python -m experiments.regret.paths --config=configs/regret/paper_paths.py                 # 8 min on two CPU cores
  python -m experiments.regret.paths --config=configs/regret/paper_paths.py:alternating     # 1 min
Expected: every group's regret below its bound; the unperturbed leader's regret linear on the alternating stream.
Smoke: append ":quick" or ",quick".
"""

import ml_collections as mlc

ARGS = ("quick", "alternating")


def get_config(arg=""):
    given = arg.split(",")
    c = mlc.ConfigDict({"experiment": "regret.paths", "seed": 0, "data": ""})
    c.problem = {"law": "drift", "side": 10, "attributes": (2, 3), "drift": 1.0}
    c.algo = {"perturbations": (1.0, 0.1, 0.0)}
    c.run = {"num_steps": 32_768, "chunk": 512, "replicates": 32}
    c.numerics = {"x64": True}
    if "alternating" in given:
        c.problem.update({"law": "alternating", "side": 4})
    if "quick" in given:
        c.run.update({"num_steps": 1024, "replicates": 4})
    return c
