"""Posted prices from the rounding's value to go: welfare, revenue and misreports, exactly and by rollouts.

  python -m experiments.matching.mechanism                                   # 40 s on two CPU cores
Expected: welfare 0.985 to 1 of the best online policy with exact prices, never below the rounding; no misreport pays.
Figure: matching/fig_mechanism. Smoke: append ":quick".
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
    c.algo = {"tolerance": 1e-6, "rollouts": (8, 32) if quick else (4, 16, 64)}
    c.run = {
        "num_steps": len(families), "chunk": 1, "replicates": 6 if quick else 16, "runs": 16 if quick else 32,
    }  # fmt: skip
    c.numerics = {"x64": True}
    return c
