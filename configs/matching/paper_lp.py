"""LP-OnOpt by dualscan against HiGHS, with ":huge" 200 x 1,000, where HiGHS needs many minutes: ours alone.

  python -m experiments.matching.lp --config=configs/matching/paper_lp.py             # minutes on two CPU cores
  python -m experiments.matching.lp --config=configs/matching/paper_lp.py:huge
Expected: certified gap 1e-4 at 200 x 1,000 in less than a second a core. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "batch", "medium", "large", "huge")

ALL = ("simplex", "interior point", "interior point, 1e-4")
MPAX = "r2HPDHG, 1e-4"
#: n, T, instances, replicates, compared with other solvers, these
SIZES = {
    "": (20, 50, 64, 1, 32, (*ALL, MPAX)), "batch": (20, 50, 1, 64, 32, ALL), "medium": (50, 200, 16, 1, 8, ALL),
    "large": (100, 500, 8, 1, 4, ALL[1:]), "huge": (200, 1000, 4, 1, 2, ()),
}  # fmt: skip


def get_config(arg=""):
    words = arg.split(",")
    quick = "quick" in words
    n, steps, instances, replicates, compared, peers = SIZES[next((word for word in words if word in SIZES), "")]
    c = mlc.ConfigDict({"experiment": "matching.lp", "seed": 0, "data": ""})
    c.problem = {
        "case": ("er", 0.5, n, steps), "instances": 1 if quick else instances, "compared": 1 if quick else compared,
        "peers": peers[:3] if quick else peers,
    }  # fmt: skip
    c.algo = {"tolerances": (1e-2, 1e-3, 1e-4)}
    c.run = {"num_steps": 3 if quick else 30, "chunk": 1, "replicates": replicates}
    return c
