"""Posted prices by 1,024 rollouts on 1,024 instances of every family.

  python -m experiments.matching.mechanism --config=configs/matching/mechanism_pod.py --mesh=rep:-1
Expected: welfare by rollouts within 1 per cent of exact prices. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    n, steps = (3, 6) if quick else (10, 20)
    c = mlc.ConfigDict({"experiment": "matching.mechanism", "seed": 0, "data": ""})
    families = (("er", 0.5), ("vertex", 0.5), ("hard", 0.724)) if quick else (
        ("er", 0.5), ("ba", 2), ("geom", 0.25), ("vertex", 0.5), ("hard", 0.724)
    )  # fmt: skip
    c.problem = {"cases": tuple((*family, n, steps) for family in families)}
    c.algo = {"tolerance": 1e-4, "rollouts": (8, 32) if quick else (16, 64, 256, 1024)}
    c.run = {
        "num_steps": len(families), "chunk": 1, "replicates": 6 if quick else 1024, "runs": 16 if quick else 256,
    }  # fmt: skip
    c.numerics = {"x64": False}  # double precision is emulated on TPUs, and does not compile in ten minutes
    return c
