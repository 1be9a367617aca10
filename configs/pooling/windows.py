"""Gradients of 2 x 2 windows through 16 posets, and distances of soft maxima below the maximum; 4 x 131,072 windows.

  python -m experiments.pooling.windows                                         # 15 s on two CPU cores
Expected: as many gradient patterns as a poset has filters, about two updated elements of four; every distance within
its bound, that of SoftPool attained. Figure: pooling/fig_windows. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.windows", "seed": 0, "data": ""})
    c.problem = {
        "windows": 4096 if quick else 16_384, "sizes": (4,) if quick else (2, 4, 9),
        "sharpness": (0.1, 1.0, 10.0) if quick else (0.1, 0.3, 1.0, 3.0, 10.0, 30.0), "far": 40.0,
    }  # fmt: skip
    c.algo = {}
    c.run = {"num_steps": 2 if quick else 8, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": True}
    return c
