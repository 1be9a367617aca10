"""LP-OnOpt by an operator that is never stored, at slice scale: 8,192 instances of 64 x 256, float32.

  python -m experiments.halpern.lp --config=configs/halpern/matching_lp_pod.py --mesh=rep:-1
Expected: 1e-3 after some 20,000 iterations. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.lp", "seed": 0, "data": ""})
    c.problem = {"kind": "online", "size": (4, 8) if quick else (64, 256), "compared": 2 if quick else 0}
    c.algo = {"variants": ("reflected",), "tolerance": 1e-3}
    c.timing = {"batches": (1,), "peers": {}, "repeats": 3, "limit": 4000}
    c.run = {"num_steps": 40, "chunk": 1, "replicates": 8 if quick else 8192, "stride": 50 if quick else 500}
    c.numerics = {"x64": False}
    return c
