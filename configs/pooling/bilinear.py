"""Random sets of triples, up to five entities and three relations: constructed and learned factors by rank.

  python -m experiments.pooling.bilinear                                   # 10 s on two CPU cores
Expected: the construction separates every set with scores of exactly 1 and 0.
Figure: pooling/fig_bilinear. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.bilinear", "seed": 0, "data": ""})
    c.problem = {"entities": 5, "relations": 3}
    c.algo = {"learning_rate": 0.03}
    c.run = {"num_steps": 40 if quick else 2000, "chunk": 20 if quick else 100, "replicates": 20}
    c.numerics = {"x64": True}
    return c
