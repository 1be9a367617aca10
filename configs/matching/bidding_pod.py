"""Coordinated bidding over 131,072 auctions, 4,096 draws.

  python -m experiments.matching.bidding --config=configs/matching/bidding_pod.py --mesh=rep:-1
Expected: as configs/matching/bidding.py. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.bidding", "seed": 0, "data": ""})
    c.problem = {"budget_rates": (0.02, 0.05, 0.1, 0.2)}  # money per round
    c.algo = {"step_size": 0.05, "share": 0.5}
    c.run = {
        "num_steps": 512 if quick else 131_072, "chunk": 64 if quick else 4096, "replicates": 4 if quick else 4096,
        "liars": 2 if quick else 4,
    }  # fmt: skip
    return c
