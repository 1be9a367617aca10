"""Loss, bound and time per round against the number of groups. Figure: regret/fig_groups.

  python -m experiments.regret.groups                                                 # medical costs, up to 176 groups
  python -m experiments.regret.groups --config=configs/regret/groups.py:coded_law     # synthetic law, up to 1,024
  python -m experiments.regret.groups --config=configs/regret/groups.py:adult         # UCI Adult, up to 980

25 s each on two CPU cores, nearly all of it compilation; Adult 3 min. Expected on medical costs, shuffle 473, loss of
everybody in 57 groups: ANH 9.960, mean prediction and clipping 8.606, AA 8.351. Smoke: ":quick", ":coded_law,quick".
"""

import ml_collections as mlc

MEDICAL = {"data_set": "medical", "sizes": (5, 12, 30, 57, 101, 176), "num_rounds": 1338}
LAW = {"data_set": "coded_law", "attributes": (3, 3, 3, 3, 3), "law_seed": 21, "num_rows": 8192}


def get_config(arg=""):
    quick = arg.endswith("quick")
    data_set = arg.removesuffix("quick").removesuffix(",")
    c = mlc.ConfigDict({"experiment": "regret.groups", "seed": 0, "data": "insurance"})
    methods = ("anh", "anh_mean", "aa", "anh_mean_depth", "aa_depth")
    if data_set == "coded_law":
        c.data, methods = "", methods[1:]
        c.problem = LAW | {"sizes": (106, 1024), "num_rounds": 2048}
        c.run = {"laps": 1, "replicates": 2}
        if not quick:
            c.problem.update({"sizes": (16, 106, 376, 781, 1024), "num_rounds": 8192})
    elif data_set == "adult":
        c.data = "adult"
        c.problem = {"data_set": "adult", "min_size": 50, "sizes": (12, 71, 250, 500, 980), "num_rounds": 48_842}
        c.run = {"laps": 1, "replicates": 1}
        if quick:
            c.problem.update({"sizes": (71, 980), "num_rounds": 4096})
    else:
        c.problem = MEDICAL | {"sizes": (12, 57) if quick else MEDICAL["sizes"]}
        c.run = {"laps": 2, "replicates": 3} if quick else {"laps": 5, "replicates": 10}
    c.algo = {"methods": methods, "regularization": 1.0, "form": "compacted", "block_size": 32}
    steps = c.run.laps * len(c.problem.sizes) * (1 + len(methods))
    c.run = {"num_steps": steps, "chunk": 1, "replicates": c.run.replicates}
    return c
