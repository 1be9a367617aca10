"""Ten photographs halved by pools and enlarged again, 32 crops of each: what is left of them.

  python -m experiments.pooling.downsampling --config=configs/pooling/paper_downsampling.py  # 1 min on two CPU cores
Expected, dB and SSIM (a prototype, other crops): average 30.5, 0.869; SoftPool 30.5, 0.869 at sharpness 1 and 29.0,
0.855 at 10; max 26.9, 0.839. Smoke: append ":quick".
"""

import ml_collections as mlc

POOLS = ("average", "L2", "GeM 3", "SoftPool 1", "mixed 1/2", "SoftPool 10", "first", "max")
BETAS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.downsampling", "seed": 0, "data": ""})
    c.problem = {"size": 192 if quick else 256}
    c.algo = {"pools": POOLS, "betas": BETAS}
    c.run = {"num_steps": 10, "chunk": 1, "replicates": 2 if quick else 32}
    c.numerics = {"x64": False}
    return c
