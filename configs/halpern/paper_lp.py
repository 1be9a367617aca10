"""Linear programs to relative KKT 1e-8, 64 instances of each class; with ":huge" 200 x 2000, 12,000 edges.

  python -m experiments.halpern.lp --config=configs/halpern/paper_lp.py       # minutes on two CPU cores
  python -m experiments.halpern.lp --config=configs/halpern/paper_lp.py:huge
Expected: as configs/halpern/lp.py. Figure: halpern/fig_lp. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "small", "large", "packing", "huge")

ALL = ("reflected", "plain", "unrestarted")
#: kind, size, iterations in a stride, strides, variants, batches, programs given to peers
CASES = {
    "": ("b_matching", (20, 60, 3), 10, 60, ALL, (1, 8, 64), (1, 8, 64)),
    "small": ("b_matching", (4, 8, 2), 10, 40, ALL, (1, 8, 64), (1, 8, 64)),
    "large": ("b_matching", (50, 200, 4), 10, 80, ALL, (1, 8, 64), (1, 8)),
    "huge": ("b_matching", (200, 2000, 6), 10, 200, ALL[:2], (1, 8), (1,)),
    "packing": ("packing", (60, 300), 500, 120, ALL[:2], (1, 8), (1, 8)),
}  # fmt: skip


def get_config(arg=""):
    words = arg.split(",")
    quick, case = "quick" in words, next((word for word in words if word in CASES), "")
    kind, size, stride, strides, variants, batches, few = CASES[case]
    c = mlc.ConfigDict({"experiment": "halpern.lp", "seed": 0, "data": ""})
    c.problem = {"kind": kind, "size": size, "compared": 2 if quick else 20}
    c.algo = {"variants": variants, "tolerance": 1e-8}
    none = quick or case in ("packing", "huge")
    peers = {"HiGHS simplex": few, "HiGHS interior point": few, "r2HPDHG": () if none else few}
    c.timing = {"batches": batches[:1] if quick else batches, "peers": peers, "repeats": 3, "limit": 12_000}
    if quick:
        c.timing.peers = {"HiGHS simplex": (1,)}
    c.run = {
        "num_steps": 4 if quick and case in ("packing", "huge") else strides, "chunk": 1,
        "replicates": 2 if quick else 64, "stride": stride,
    }  # fmt: skip
    c.numerics = {"x64": True}
    return c
