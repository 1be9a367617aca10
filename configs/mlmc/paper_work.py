"""Work-normalised variance over r with the paper's grids and 1e6 replicates a cell; ":A1", ":A2", ":A3" as in `work`.

  python -m experiments.mlmc.work --config=configs/mlmc/paper_work.py     # 20 min on two CPU cores
  python -m experiments.mlmc.work --config=configs/mlmc/paper_work.py:A2
Expected: block sums need 1.5 times fewer leaves than the single term on A1 and A2, nets of leaves, at
larger r, 1.8. The map's right part, r_0 >= 0.8, has infinite variance: what it shows there is the luck of the draw.
Figures: mlmc/fig_work, mlmc/fig_estimators. Smoke: append "quick".
"""

import ml_collections as mlc

ARGS = ("quick", "A1", "A2", "A3")

MAP = (
    ((0.6, 0.614, 0.628, 0.642, 0.656, 0.67, 0.684, 0.698, 0.712, 0.726, 0.74),
     (0.55, 0.555, 0.56, 0.565, 0.57, 0.575, 0.58, 0.585, 0.59, 0.595, 0.6)),
    ((0.8, 0.82, 0.84, 0.86, 0.88, 0.9), (0.7, 0.72, 0.74, 0.76, 0.78, 0.8)),
)  # fmt: skip
SMALL_MAP = (((0.6, 0.7), (0.55, 0.6)), ((0.85,), (0.75,)))
CURVE = ((0.56, 0.58, 0.6, 0.62, 0.64, 0.66, 0.68, 0.7, 0.72), ())
SMALL_CURVE = ((0.64, 0.67), ())
#: Rates of nets, as many.
NETS, SMALL_NETS = (0.68, 0.7, 0.72, 0.74, 0.76, 0.78, 0.8, 0.82, 0.84), (0.73, 0.77)


def get_config(arg=""):
    words = arg.split(",")
    quick, name = "quick" in words, next((word for word in words if word.startswith("A")), "E3")
    c = mlc.ConfigDict({"experiment": "mlmc.work", "seed": 0, "data": ""})
    if name == "E3":
        inside, outside = SMALL_MAP if quick else MAP
        methods, b, nets = ("single",), (0, 0), ()
    else:
        (rates, outside), b = (SMALL_CURVE if quick else CURVE), (0,)
        nets = SMALL_NETS if quick else NETS
        inside, methods = (rates,), (("single", "block") if quick else ("single", "coupled", "block", "sobol"))
    c.problem = {"name": name, "rates": inside, "outside": outside, "nets": nets}
    c.algo = {"b": b, "block": 4096, "methods": methods}
    steps = len(inside[0]) * (len(inside[1]) if name == "E3" else 1)
    steps += len(outside[0]) * len(outside[1]) if outside else 0
    c.run = {
        "num_steps": steps,
        "chunk": 1,
        "replicates": 4 if quick else (4 if name == "E3" else 64),
        "blocks": 4 if quick else 64,
    }
    c.numerics = {"x64": False}
    return c
