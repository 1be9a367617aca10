"""Root mean squares over 64 seeds against the bounds of both algorithms, eight instances of each class.

  python -m experiments.halpern.bounds                                       # 40 s on two CPU cores
Expected: no ratio of measured to allowed above 1; the reflected iteration attains its bound, the others come within a
factor of five. Figure: halpern/fig_bounds. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.bounds", "seed": 0, "data": ""})
    c.problem = {"size": 64, "dim": 8, "saddle_size": 16, "instances": 3 if quick else 8, "instance_seed": 0}
    c.run = {"num_steps": 12 if quick else 64, "chunk": 1, "replicates": 64}
    c.numerics = {"x64": True}
    return c
