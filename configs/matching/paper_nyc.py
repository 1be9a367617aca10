"""New York trips: fifty drivers and two hundred times, with more runs; ":small" exactly.

  python -m experiments.matching.nyc --config=configs/matching/paper_nyc.py                # half an hour on two cores
Expected: as configs/matching/nyc.py. Append ":small" for the exact part. Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "small")


def get_config(arg=""):
    quick, small = "quick" in arg.split(","), "small" in arg.split(",")
    c = mlc.ConfigDict({"experiment": "matching.nyc", "seed": 0, "data": "nyc"})
    c.problem = {
        "source": "trips", "weekday": 0, "first_quarter": 28, "quarters": 20, "reach": 4.0,
        "drivers": (3 if quick else 5) if small else (14 if quick else 50),
        "steps": (6 if quick else 16) if small else (28 if quick else 200),
        "loads": (0.5, 1.0, 2.0) if quick else (0.5, 0.75, 1.0, 1.5, 2.0),
    }  # fmt: skip
    c.algo = {"tolerance": 1e-3}
    c.run = {
        "num_steps": 3 if quick else 5, "chunk": 1, "replicates": (8 if quick else 96) if small else 8,
        "runs": 128 if quick else 4096,
    }  # fmt: skip
    return c
