"""Random sets of triples, up to five entities and three relations, 200 sets.

  python -m experiments.pooling.bilinear --config=configs/pooling/paper_bilinear.py
Expected: the construction separates every set with scores of exactly 1 and 0.
Figure: pooling/fig_bilinear. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.bilinear", "seed": 0, "data": ""})
    c.problem = {"entities": 5, "relations": 3}
    c.algo = {"learning_rate": 0.03}
    c.run = {"num_steps": 40 if quick else 5000, "chunk": 20 if quick else 100, "replicates": 20 if quick else 200}
    c.numerics = {"x64": True}
    return c
