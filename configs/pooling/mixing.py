"""Time of mixing 256 to 4,096 tokens: PoNet against softmax attention, 64 channels.

  python -m experiments.pooling.mixing                                         # 30 s on two CPU cores
Expected: time grows in proportion to the tokens for PoNet, and to their square for attention.
Figure: pooling/fig_mixing. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.mixing", "seed": 0, "data": ""})
    c.problem = {
        "tokens": (64, 128, 256) if quick else (256, 512, 1024, 2048, 4096), "width": 16 if quick else 64,
        "heads": 4, "segments": 32, "block": 256,
    }  # fmt: skip
    c.algo = {}
    c.run = {"num_steps": 18 if quick else 60, "chunk": 1, "replicates": 1}
    c.numerics = {"x64": False}
    return c
