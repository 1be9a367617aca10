"""b-matchings at slice scale: 16,384 programs of 200 x 2000 with 12,000 edges, float32 to 1e-5.

  python -m experiments.halpern.lp --config=configs/halpern/lp_pod.py --mesh=rep:-1
Expected: all converge within 2,000 iterations. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.lp", "seed": 0, "data": ""})
    c.problem = {"kind": "b_matching", "size": (4, 8, 2) if quick else (200, 2000, 6), "compared": 2 if quick else 4}
    c.algo = {"variants": ("reflected",), "tolerance": 1e-5}
    c.timing = {"batches": (1,) if quick else (1, 64), "peers": {}, "repeats": 3, "limit": 500}
    c.run = {"num_steps": 20, "chunk": 1, "replicates": 8 if quick else 16_384, "stride": 10 if quick else 100}
    c.numerics = {"x64": False}
    return c
