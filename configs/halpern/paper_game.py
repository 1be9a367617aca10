"""Natural residual on the policeman and burglar game, n = 500, with the published budget of 5000 epochs.

  python -m experiments.halpern.game --config=configs/halpern/paper_game.py              # 10 min on two CPU cores
Expected after 5000 epochs: EG 1.47e-2, EAG 1.68e-2, VR-EG and Algorithm 1 4.7e-3, Algorithm 2 9.1e-3. Smoke: append
":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "halpern.game", "seed": 0, "data": ""})
    c.problem = {
        "size": 500, "worth_seed": 1,
        "epochs": (10, 30, 100) if quick
        else (2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000),
    }  # fmt: skip
    methods = ("eg", "eag", "vr_eg", "page", "alg2", "reflected", "restarted", "certified")
    c.algo = {"methods": ("eg", "vr_eg", "alg2", "restarted") if quick else methods}
    c.run = {"num_steps": len(c.problem.epochs), "chunk": 1, "replicates": 2 if quick else 10, "stride": 64}
    c.numerics = {"x64": True}
    return c
