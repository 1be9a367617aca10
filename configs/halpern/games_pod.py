"""Natural residual of six methods on five problems, from easy for variance reduction to hard; n = 4096, 256 seeds.

  python -m experiments.halpern.games --config=configs/halpern/games_pod.py --mesh=rep:-1
Expected: the winners of the default form, by more, since the break-even grows as sqrt(n). Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    n = 100 if quick else 4096
    # Name, n, epochs; kappa of Algorithm 2; kappa, M_k / n and threshold of the restarted one.
    cases = (
        ("bilinear", n, 300, 1.0, 1.0, 1.0, 0.4),
        ("rank5", n, 100, 1.0, 1.0, 0.5, 0.4),
        ("policeman", n, 300, 1.0, 3.0, 0.5, 0.2),
        ("nemirovski", n, 300, 3.0, 3.0, 1.0, 0.4),
        ("uniform", n, 300, 1.0, 1.0, 1.0, 0.4),
    )
    c = mlc.ConfigDict({"experiment": "halpern.games", "seed": 0, "data": ""})
    c.problem = {
        "cases": cases[1:] if quick else cases, "matrix_seed": 0,
        "shares": (0.1, 0.3, 1.0) if quick else (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    }  # fmt: skip
    methods = ("eg", "eag", "forb", "vr_eg", "alg2", "restarted")
    c.algo = {"methods": ("eg", "forb", "alg2", "restarted") if quick else methods}
    c.run = {"num_steps": len(c.problem.shares), "chunk": 1, "replicates": 5 if quick else 256}
    c.numerics = {"x64": quick}
    return c
