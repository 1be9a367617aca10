"""The instance built against the rounding at slice scale: ten thousand exhausted nodes, a million runs.

  python -m experiments.matching.worst_case --config=configs/matching/worst_case_pod.py --mesh=rep:-1
Expected at s = .724: 0.67898 scaled, 0.64901 unscaled, within 1e-3. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.worst_case", "seed": 0, "data": ""})
    c.problem = {"exhausted": (10, 100) if quick else (10, 1000), "poisson": (0.724, 1.0), "eta": 1e-7}
    c.algo = {"eps": 0.11, "delta": 0.18}
    c.run = {"num_steps": 16 if quick else 4096, "chunk": 16, "replicates": 16 if quick else 256}
    return c
