"""LP-OnOpt by dualscan against HiGHS and MPAX: 20 x 50, or ":batch" of 64, ":medium" 50 x 200, ":large" 100 x 500.

  python -m experiments.matching.lp                                          # 30 s on two CPU cores, with MPAX
  python -m experiments.matching.lp --config=configs/matching/lp.py:large    # 60 s, nearly all of it HiGHS
Expected: certified gap 1e-4; 5 to 10 times faster than the fastest HiGHS method at 20 x 50, 500 times at 100 x 500.
Figure: matching/fig_lp. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "batch", "medium", "large")

#: n, T, instances, replicates, compared with other solvers, these
ALL = ("simplex", "interior point", "interior point, 1e-4")
MPAX = "r2HPDHG, 1e-4"
SIZES = {
    "": (20, 50, 16, 1, 4, (*ALL, MPAX)), "batch": (20, 50, 1, 64, 8, ALL), "medium": (50, 200, 8, 1, 3, ALL),
    "large": (100, 500, 4, 1, 2, ALL[1:]),
}  # fmt: skip
QUICK = {
    "": (8, 20, 4, 1, 2, ALL), "batch": (8, 20, 1, 16, 2, ALL), "medium": (16, 40, 4, 1, 2, ALL),
    "large": (32, 80, 2, 1, 1, ALL),
}  # fmt: skip


def get_config(arg=""):
    words = arg.split(",")
    size = next((word for word in words if word in SIZES), "")
    n, steps, instances, replicates, compared, peers = (QUICK if "quick" in words else SIZES)[size]
    c = mlc.ConfigDict({"experiment": "matching.lp", "seed": 0, "data": ""})
    c.problem = {
        "case": ("er", 0.5, n, steps), "instances": instances, "compared": compared, "peers": peers,
    }  # fmt: skip
    c.algo = {"tolerances": (1e-2, 1e-3, 1e-4)}
    c.run = {"num_steps": 6 if "quick" in words else 30, "chunk": 1, "replicates": replicates}
    return c
