"""Time of mixing 256 to 16,384 tokens: PoNet against softmax attention, 64 channels.

  python -m experiments.pooling.mixing --config=configs/pooling/paper_mixing.py             # 5 min on two CPU cores
Expected: as the default config; at 16,384 tokens attention takes hundreds of times as long. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.mixing", "seed": 0, "data": ""})
    c.problem = {
        "tokens": (64, 128, 256) if quick else (256, 512, 1024, 2048, 4096, 8192, 16384),
        "width": 16 if quick else 64, "heads": 4, "segments": 32, "block": 256,
    }  # fmt: skip
    c.algo = {}
    c.run = {"num_steps": 18 if quick else 84, "chunk": 1, "replicates": 1}
    c.numerics = {"x64": False}
    return c
