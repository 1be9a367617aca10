"""New York trips of a Monday morning: roundings and policies against LP-OnOpt by load, and ":small" exactly.

  python -m experiments.matching.nyc                                         # 50 s on two CPU cores
  python -m experiments.matching.nyc --config=configs/matching/nyc.py:small  # against the best online policy
Expected: the rescaled rounding earns 0.85 to 0.95 of LP-OnOpt, far above 0.678. Figure: matching/fig_nyc. Smoke:
":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "small")


def get_config(arg=""):
    quick, small = "quick" in arg.split(","), "small" in arg.split(",")
    c = mlc.ConfigDict({"experiment": "matching.nyc", "seed": 0, "data": "nyc"})
    c.problem = {
        "source": "trips", "weekday": 0, "first_quarter": 28, "quarters": 20, "reach": 4.0,
        "drivers": (3 if quick else 5) if small else (14 if quick else 24),
        "steps": (6 if quick else 16) if small else (28 if quick else 96),
        "loads": (0.5, 1.0, 2.0) if quick else (0.5, 0.75, 1.0, 1.5, 2.0),
    }  # fmt: skip
    c.algo = {"tolerance": 1e-3}
    c.run = {
        "num_steps": 3 if quick else 5, "chunk": 1, "replicates": (8 if quick else 24) if small else 4,
        "runs": 128 if quick else 512,
    }  # fmt: skip
    return c
