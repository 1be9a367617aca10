"""Coordinated bidding over 32,768 auctions.

  python -m experiments.matching.bidding --config=configs/matching/paper_bidding.py        # minutes on two CPU cores
Expected: as configs/matching/bidding.py, intervals a fifth as wide. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.bidding", "seed": 0, "data": ""})
    c.problem = {"budget_rates": (0.02, 0.05, 0.1, 0.2)}  # money per round
    c.algo = {"step_size": 0.05, "share": 0.5}
    c.run = {
        "num_steps": 512 if quick else 32_768, "chunk": 64 if quick else 1024, "replicates": 4 if quick else 32,
        "liars": 2 if quick else 4,
    }  # fmt: skip
    return c
