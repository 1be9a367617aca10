"""LP-OnOpt of the matching family, 8 x 20, with an operator that is never stored; ":fluid" the expected matching.

  python -m experiments.halpern.lp --config=configs/halpern/matching_lp.py    # 20 s on two CPU cores
Expected: a median of 2,500 reflected iterations to 1e-8, 11,300 for the slowest of 20, at the value that the family's
own solver certifies.
Figure: halpern/fig_lp. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "fluid")


def get_config(arg=""):
    words = arg.split(",")
    quick = "quick" in words
    c = mlc.ConfigDict({"experiment": "halpern.lp", "seed": 0, "data": ""})
    c.problem = {
        "kind": "fluid" if "fluid" in words else "online",
        "size": (4, 8) if quick else (8, 20),
        "compared": 4 if quick else 20,
    }
    c.algo = {"variants": ("reflected", "plain"), "tolerance": 1e-8}
    c.timing = {"batches": (1,), "peers": {"HiGHS simplex": (1,)}, "repeats": 3, "limit": 12_000}
    c.run = {"num_steps": 120, "chunk": 1, "replicates": 4 if quick else 20, "stride": 100}
    c.numerics = {"x64": True}
    return c
