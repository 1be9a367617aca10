"""The philosopher by subset dynamic programming at n = 8, or ":12", ":16", ":20", ":22": time per set, and its value.

  python -m experiments.matching.philosopher                                        # 5 s on two CPU cores
  python -m experiments.matching.philosopher --config=configs/matching/philosopher.py:20
Expected: 1.5 ns per set and time at n = 20, 10 times faster than NumPy's bit views; 0.96 to 0.99 of LP-OnOpt.
Figure: matching/fig_philosopher. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "12", "16", "20", "22")

#: n -> instances, times of the NumPy peer
SIZES = {"8": (8, 40), "12": (8, 40), "16": (8, 16), "20": (4, 4), "22": (2, 2)}
QUICK = {"8": 4, "12": 5, "16": 6, "20": 7, "22": 8}


def get_config(arg=""):
    words = arg.split(",")
    quick = "quick" in words
    size = next((word for word in words if word in SIZES), "8")
    instances, peer_times = (2, 2) if quick else SIZES[size]
    n, steps = (QUICK[size], 8) if quick else (int(size), 40)
    c = mlc.ConfigDict({"experiment": "matching.philosopher", "seed": 0, "data": ""})
    c.problem = {"case": ("er", 0.5, n, steps), "instances": instances, "peer_times": peer_times}
    c.run = {
        "num_steps": 2 if quick else 6 if n > 16 else 40, "chunk": 1, "replicates": 1, "runs": 256 if quick else 16_384,
    }  # fmt: skip
    return c
