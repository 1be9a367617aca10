"""The philosopher by subset dynamic programming at n = 8, or ":12", ":16", ":20", ":22", ":24"; T = 100.

  python -m experiments.matching.philosopher --config=configs/matching/paper_philosopher.py:24  # 3 minutes on two cores
Expected: as configs/matching/philosopher.py; n = 24 takes 256 times as long as n = 16. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "12", "16", "20", "22", "24")

#: n -> instances, times of the NumPy peer
SIZES = {"8": (16, 100), "12": (16, 100), "16": (16, 16), "20": (8, 4), "22": (4, 4), "24": (2, 2)}
QUICK = {"8": 4, "12": 5, "16": 6, "20": 7, "22": 8, "24": 9}


def get_config(arg=""):
    words = arg.split(",")
    quick = "quick" in words
    size = next((word for word in words if word in SIZES), "8")
    instances, peer_times = (2, 2) if quick else SIZES[size]
    n, steps = (QUICK[size], 8) if quick else (int(size), 100)
    c = mlc.ConfigDict({"experiment": "matching.philosopher", "seed": 0, "data": ""})
    c.problem = {"case": ("er", 0.5, n, steps), "instances": instances, "peer_times": peer_times}
    c.run = {
        "num_steps": 2 if quick else 10 if n > 16 else 40, "chunk": 1, "replicates": 1,
        "runs": 256 if quick else 65_536,
    }  # fmt: skip
    return c
