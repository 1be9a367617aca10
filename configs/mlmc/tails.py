"""Tails of READ at depth 1: sample variances, intervals and tail indices, eight seeds of a million replicates.

  python -m experiments.mlmc.tails                                           # 40 s on two CPU cores
Expected: A1 at r = 0.74 has variance 120.1, of which a million replicates show about half; tail indices as the moment
profile has them. Figure: mlmc/fig_tails. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.tails", "seed": 0, "data": ""})
    walks, rates = ("A1", "A3", "A3", "A4", "A4"), (0.74, 0.60, 0.70, 0.60, 0.64)
    kept = slice(0, 2) if quick else slice(None)
    c.problem = {"walks": walks[kept], "rates": rates[kept], "largest": 256 if quick else 2048}
    c.algo = {"block": 4096 if quick else 16384}
    c.run = {"num_steps": 8 if quick else 64, "chunk": 1, "replicates": 4 if quick else 8}
    c.numerics = {"x64": False}
    return c
