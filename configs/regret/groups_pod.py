"""Four thousand groups at slice scale: all conjunctions of six attributes of three values, 256 shuffles.

  python -m experiments.regret.groups --config=configs/regret/groups_pod.py --mesh=rep:-1
Expected: the order of configs/regret/groups.py:coded_law with intervals ten times narrower. Smoke: append ":quick".
"""

import ml_collections as mlc

METHODS = ("anh_mean", "aa", "anh_mean_depth", "aa_depth")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "regret.groups", "seed": 1, "data": ""})
    sizes = (19, 64) if quick else (19, 154, 694, 1909, 4096)
    c.problem = {
        "data_set": "coded_law", "attributes": (3,) * 6, "law_seed": 21, "num_rows": 65_536, "sizes": sizes,
        "num_rounds": 256 if quick else 2048,
    }  # fmt: skip
    c.algo = {"methods": METHODS, "regularization": 1.0, "form": "compacted", "block_size": 32}
    c.run = {"num_steps": len(sizes) * (1 + len(METHODS)), "chunk": 1, "replicates": 4 if quick else 256}
    return c
