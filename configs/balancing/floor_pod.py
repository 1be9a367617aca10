"""MaxVio of batches of 256 to 65,536 tokens against the floor of sampling, 64 experts, 512 seeds.

  python -m experiments.balancing.floor --config=configs/balancing/floor_pod.py --mesh=rep:-1
Expected: proportional steps within 1.1 of the floor, signs above; clustered tokens have a floor of their own.
Figure: balancing/fig_floor. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.floor", "seed": 0, "data": ""})
    c.problem = {
        "experts": 32 if quick else 64, "top_k": 4 if quick else 8, "spread": 0.3,
        "tokens": (256,) if quick else (256, 1024, 4096, 16384, 65536),
        "group": 64, "share": 0.2, "instance_seed": 0,
    }  # fmt: skip
    c.algo = {"rows": ("prop const 0.05", "prop inv_offset 1", "sign const 0.3"), "offset": 2.0}
    c.run = {"num_steps": 64 if quick else 1024, "chunk": 16 if quick else 64, "replicates": 2 if quick else 512}
    c.numerics = {"x64": False}
    return c
