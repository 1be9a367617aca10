"""Posted prices on 64 instances of every family, with up to 256 rollouts for each price.

  python -m experiments.matching.mechanism --config=configs/matching/paper_mechanism.py     # an hour on two CPU cores
Expected: as configs/matching/mechanism.py, intervals half as wide. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    n, steps = (3, 6) if quick else (6, 12)
    c = mlc.ConfigDict({"experiment": "matching.mechanism", "seed": 0, "data": ""})
    families = (("er", 0.5), ("vertex", 0.5), ("hard", 0.724)) if quick else (
        ("er", 0.5), ("ba", 2), ("geom", 0.25), ("vertex", 0.5), ("hard", 0.724)
    )  # fmt: skip
    c.problem = {"cases": tuple((*family, n, steps) for family in families)}
    c.algo = {"tolerance": 1e-6, "rollouts": (8, 32) if quick else (4, 16, 64, 256)}
    c.run = {
        "num_steps": len(families), "chunk": 1, "replicates": 6 if quick else 64, "runs": 16 if quick else 128,
    }  # fmt: skip
    c.numerics = {"x64": True}
    return c
