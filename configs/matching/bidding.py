"""Four clients of one agency over 4,096 second-price auctions: pacing alone, a leader, or a book of shadow auctions.

  python -m experiments.matching.bidding                                     # 15 s on two CPU cores
Expected: under "shadow" no client ever earns less than alone; coordination adds 60 to 70 per cent in all.
Figure: matching/fig_bidding. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "matching.bidding", "seed": 0, "data": ""})
    c.problem = {"budget_rates": (0.02, 0.05, 0.1, 0.2)}  # money per round
    c.algo = {"step_size": 0.05, "share": 0.5}
    c.run = {
        "num_steps": 512 if quick else 4096, "chunk": 64 if quick else 128, "replicates": 4 if quick else 16,
        "liars": 2 if quick else 4,
    }  # fmt: skip
    return c
