"""LP-OnOpt of the matching family, 12 x 30 and 64 instances, with an operator that is never stored.

  python -m experiments.halpern.lp --config=configs/halpern/paper_matching_lp.py    # minutes on two CPU cores
Expected: as configs/halpern/matching_lp.py. Figure: halpern/fig_lp. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.lp", "seed": 0, "data": ""})
    c.problem = {"kind": "online", "size": (4, 8) if quick else (12, 30), "compared": 2 if quick else 8}
    c.algo = {"variants": ("reflected", "plain"), "tolerance": 1e-8}
    c.timing = {"batches": (1,), "peers": {"HiGHS simplex": (1,)}, "repeats": 3, "limit": 12_000}
    c.run = {"num_steps": 60, "chunk": 1, "replicates": 2 if quick else 64, "stride": 100 if quick else 500}
    c.numerics = {"x64": True}
    return c
