"""Natural residual on the policeman and burglar game, n = 500: six methods as published, two as they should be.

  python -m experiments.halpern.game                                         # 50 s on two CPU cores
Expected after 1000 epochs: EG 2.25e-2, EAG 4.66e-2, VR-EG and Algorithm 1 1.47e-2, Algorithm 2 1.95e-2, with restarts
and centring 9e-3. Figure: halpern/fig_game. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.game", "seed": 0, "data": ""})
    c.problem = {
        "size": 500, "worth_seed": 1,
        "epochs": (10, 30, 100) if quick else (2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000),
    }  # fmt: skip
    methods = ("eg", "eag", "vr_eg", "page", "alg2", "reflected", "restarted", "certified")
    c.algo = {"methods": ("eg", "vr_eg", "alg2", "restarted") if quick else methods}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 5, "stride": 64}
    c.numerics = {"x64": True}
    return c
