"""Parity and second minimum of sets of 2 to 16 elements, tested on up to 256, and on 10,000 where it is exact.

  python -m experiments.pooling.parity                            # 80 s of one CPU core, most of it compilation
Expected: sums, means and maxima answer parity of 256 bits at random, the LCM nearly always, tables always; for the
second minimum of 256 the LCM has forgotten, the GRU is wrong now and then, and tropical polynomials are always right.
Figure: pooling/fig_parity. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("sum", "mean", "max", "GRU", "LCM", "tables and tropical")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.parity", "seed": 0, "data": ""})
    c.problem = {"smallest": 2, "largest": 4 if quick else 16}
    c.algo = {
        "methods": ("tables and tropical",) if quick else METHODS,
        "sizes": {
            "levels": 8, "width": 16 if quick else 32, "tables": 4 if quick else 8, "states": 2 if quick else 4,
            "channels": 16,
        },
        "batch": 64, "learning_rate": 1e-2 if quick else 5e-3, "clip": 1.0, "penalty": 0.0,
    }  # fmt: skip
    c.run = {
        "num_steps": 200 if quick else 600, "chunk": 50 if quick else 100, "replicates": 2,
        "sizes": (4, 8, 16, 32) if quick else (8, 16, 64, 256), "sets": 64,
        "far": 128 if quick else 10_000, "far_sets": 16,
        "far_methods": () if quick else ("tables and tropical",),
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
