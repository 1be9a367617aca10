"""LP-OnOpt in batches at slice scale: 16,384 instances of 64 x 256.

  python -m experiments.matching.lp --config=configs/matching/lp_pod.py --mesh=rep:-1
Expected: certified gap at most 1e-3 everywhere, 1e-4 for nearly all. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.lp", "seed": 0, "data": ""})
    c.problem = {"case": ("er", 0.5, 64, 256), "instances": 1, "compared": 1, "peers": ("interior point, 1e-4",)}
    c.algo = {"tolerances": (1e-2, 1e-3, 1e-4)}
    c.run = {"num_steps": 6, "chunk": 1, "replicates": 8 if quick else 16_384}
    return c
