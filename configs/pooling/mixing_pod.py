"""Time of mixing 1,024 to 65,536 tokens on one accelerator: PoNet against softmax attention, 1,024 channels.

  python -m experiments.pooling.mixing --config=configs/pooling/mixing_pod.py
Expected: PoNet's time is that of reading its inputs; attention's grows as the square. Smoke: append ":quick".
"""

import ml_collections as mlc

# It is about the clock of one chip; on a slice all of them would do the same.
MESH, GROWS = "data:-1", ()


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "pooling.mixing", "seed": 0, "data": ""})
    c.problem = {
        "tokens": (64, 128, 256) if quick else (1024, 2048, 4096, 8192, 16384, 32768, 65536),
        "width": 16 if quick else 1024, "heads": 4 if quick else 16, "segments": 32, "block": 256 if quick else 512,
    }  # fmt: skip
    c.algo = {}
    c.run = {"num_steps": 18 if quick else 140, "chunk": 1, "replicates": 1}
    c.numerics = {"x64": False}
    return c
