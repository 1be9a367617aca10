"""Rounds of graph parsing on four families of graphs, n = 8 ... 1,024, four seeds.

  python -m experiments.pooling.parsing                                      # 20 s on two CPU cores
Expected: never more than floor(log2 n) rounds, as many on the slowest path; random graphs need about half.
Figure: pooling/fig_parsing. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.parsing", "seed": 0, "data": ""})
    c.problem = {
        "families": ("path", "tree", "grid", "sparse"), "exponents": (3, 6) if quick else (3, 4, 5, 6, 7, 8, 9, 10),
        "channels": 4,
    }  # fmt: skip
    c.algo = {"hidden": 8}
    c.run = {"num_steps": 1, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": False}
    return c
