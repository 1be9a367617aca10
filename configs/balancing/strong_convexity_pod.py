"""Second eigenvalue of the Hessian along the path of a bias, and margins that measure it: four families, 1,024 seeds.

  python -m experiments.balancing.strong_convexity --config=configs/balancing/strong_convexity_pod.py --mesh=rep:-1
Expected: estimates within 10 % of trace H / (E - 1), within 2 % on average; the Gumbel bound is tight at balance.
Figure: balancing/fig_strong_convexity. Smoke: append ":quick".
"""

import ml_collections as mlc

KINDS = ("normal", "uniform", "logistic", "gumbel")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.strong_convexity", "seed": 0, "data": ""})
    c.problem = {
        "kinds": KINDS[1:3] if quick else KINDS, "tokens": 1024, "experts": 8 if quick else 16, "top_k": 2,
        "spread": 0.7, "uneven": 0.5, "margins": 2**14 if quick else 2**20,
    }  # fmt: skip
    c.algo = {"step_size": 0.2, "width": 0.05}
    c.run = {"num_steps": 12 if quick else 80, "chunk": 4, "replicates": 2 if quick else 1024}
    c.numerics = {"x64": False}
    return c
