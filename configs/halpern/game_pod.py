"""Natural residual on a large policeman and burglar game, n = 8192: six methods as published, two as they should be.

  python -m experiments.halpern.game --config=configs/halpern/game_pod.py --mesh=rep:-1
Expected: plateaus again, at gaps between order statistics of the weights, which are smaller here. Smoke: append
":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.game", "seed": 0, "data": ""})
    c.problem = {
        "size": 500 if quick else 8192, "worth_seed": 1,
        "epochs": (10, 30, 100) if quick else (2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000),
    }  # fmt: skip
    methods = ("eg", "eag", "vr_eg", "page", "alg2", "reflected", "restarted", "certified")
    c.algo = {"methods": ("eg", "vr_eg", "alg2", "restarted") if quick else methods}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 256, "stride": 64}
    c.numerics = {"x64": quick}
    return c
