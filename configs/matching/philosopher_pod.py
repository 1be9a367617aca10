"""The philosopher at n = 20 and T = 100 on 4,096 instances: true ratios where nobody has them.

  python -m experiments.matching.philosopher --config=configs/matching/philosopher_pod.py --mesh=rep:-1
Expected: 0.96 to 0.98 of LP-OnOpt. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    n, steps = (6, 8) if quick else (20, 100)
    c = mlc.ConfigDict({"experiment": "matching.philosopher", "seed": 0, "data": ""})
    c.problem = {"case": ("er", 0.5, n, steps), "instances": 1, "peer_times": 2}
    c.run = {"num_steps": 2, "chunk": 1, "replicates": 8 if quick else 4096, "runs": 256 if quick else 16_384}
    return c
