"""Ten photographs halved by pools and enlarged again, four crops of each: what is left of them.

  python -m experiments.pooling.downsampling                                    # 15 s on two CPU cores
Expected: PSNR and SSIM fall from the average over SoftPool to the maximum, and with SoftPool's sharpness.
Figure: pooling/fig_downsampling. Smoke: append ":quick".
"""

import ml_collections as mlc

POOLS = ("average", "L2", "GeM 3", "SoftPool 1", "mixed 1/2", "SoftPool 10", "first", "max")
BETAS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.downsampling", "seed": 0, "data": ""})
    c.problem = {"size": 192 if quick else 256}
    c.algo = {"pools": POOLS, "betas": BETAS}
    c.run = {"num_steps": 10, "chunk": 1, "replicates": 2 if quick else 4}
    c.numerics = {"x64": False}
    return c
