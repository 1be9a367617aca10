"""Linear programs to relative KKT 1e-8: b-matchings 20 x 60, or ":small" 4 x 8, ":large" 50 x 200, ":packing".

  python -m experiments.halpern.lp                                            # 20 s on two CPU cores
  python -m experiments.halpern.lp --config=configs/halpern/lp.py:packing     # 50 s: dense, thousands of iterations
Expected: medians of 110, 55, 180 and 14,000 iterations, two to four times that without reflection.
Figure: halpern/fig_lp. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "small", "large", "packing")

#: kind, size, iterations in a stride, strides, variants
ALL = ("reflected", "plain", "unrestarted")
CASES = {
    "": ("b_matching", (20, 60, 3), 10, 60, ALL), "small": ("b_matching", (4, 8, 2), 10, 40, ALL),
    "large": ("b_matching", (50, 200, 4), 10, 80, ALL), "packing": ("packing", (60, 300), 500, 120, ALL[:2]),
}  # fmt: skip


def get_config(arg=""):
    words = arg.split(",")
    quick, case = "quick" in words, next((word for word in words if word in CASES), "")
    kind, size, stride, strides, variants = CASES[case]
    c = mlc.ConfigDict({"experiment": "halpern.lp", "seed": 0, "data": ""})
    c.problem = {"kind": kind, "size": size, "compared": 4 if quick else 20}
    c.algo = {"variants": variants, "tolerance": 1e-8}
    batches, few = ((1, 8), (1,)) if quick else ((1, 8, 64), (1, 8))
    peers = {"HiGHS simplex": few, "HiGHS interior point": few, "r2HPDHG": () if quick else few}
    if case == "packing":
        batches, peers = ((1,), {"HiGHS simplex": (1,), "HiGHS interior point": (1,)}) if quick else ((1, 8), peers)
    c.timing = {"batches": batches, "peers": peers, "repeats": 3, "limit": 8000}
    c.run = {
        "num_steps": 8 if quick and case == "packing" else strides, "chunk": 1, "replicates": 4 if quick else 20,
        "stride": stride,
    }  # fmt: skip
    c.numerics = {"x64": True}
    return c
