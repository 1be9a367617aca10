"""Natural residual of eight methods on the policeman and burglar game, n = 500, up to 1000 epochs.

  python -m experiments.halpern.game
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.game", "seed": 0, "data": ""})
    c.problem = {
        "size": 500, "worth_seed": 1,
        "epochs": (10, 30, 100) if quick else (2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000),
    }  # fmt: skip
    c.algo = {"methods": ("eg", "eag", "vr_eg", "page", "alg2", "reflected", "restarted", "certified")}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 5, "stride": 64}
    c.numerics = {"x64": True}
    return c
