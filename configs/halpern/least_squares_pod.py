"""Least squares with two million rows, 256 seeds, one on each device.

  python -m experiments.halpern.least_squares --config=configs/halpern/least_squares_pod.py --mesh=rep:-1
Expected: Algorithm 1 ahead by more than with 200,000 rows, once its first refreshes are paid. Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "box", "digits")


def get_config(arg=""):
    given = arg.split(",")
    quick, box, digits = ("quick" in given, "box" in given, "digits" in given)
    c = mlc.ConfigDict({"experiment": "halpern.least_squares", "seed": 0, "data": "samples" if digits else ""})
    c.problem = {
        "source": "digits" if digits else "synthetic", "size": 2000 if quick else 20_000 if box else 2_000_000,
        "columns": 50, "noise": 0.1, "box": 0.5 if box else 0.0,
        "epochs": (5, 10, 20, 30, 50, 70, 100) if quick else (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100),
    }  # fmt: skip
    if digits and not quick:
        c.problem.epochs = (5, 10, 20, 30, 50, 70, 100, 150, 200, 300)
    longer = "page_one" if digits else "page_two"
    c.algo = {
        "methods": ("page_half",) if box else ("gd", "halpern", "page_half", longer) if quick
        else ("gd", "halpern", "halpern_long", "page_half", longer, "svrg"),
    }  # fmt: skip
    c.run = {
        "num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 5 if quick else 256,
        "stride": 16 if quick or digits or box else 128, "full_stride": 5,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
