"""Pairs of graphs that 1,l-WL cannot tell apart, and relational pooling on hard pairs, four seeds.

  python -m experiments.pooling.ladder                                       # 20 s on two CPU cores
Expected: fewer unresolved pairs on every rung; gaps at rounding below the rung that separates, far above it from there.
Figure: pooling/fig_ladder. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.ladder", "seed": 0, "data": ""})
    c.problem = {
        "atlas_nodes": 6 if quick else 7, "pair_nodes": 16, "marks": 2,
        "samples": (2, 8) if quick else (1, 2, 4, 8, 16, 32), "trials": 500 if quick else 2000,
    }  # fmt: skip
    c.algo = {"hidden": 8, "layers": 3}
    c.run = {"num_steps": 1, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": True}
    return c
