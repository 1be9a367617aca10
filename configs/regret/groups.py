"""Loss, bound and time per round against the number of groups. Figure: regret/fig_groups.

  python -m experiments.regret.groups                                                 # medical costs, up to 176 groups
  python -m experiments.regret.groups --config=configs/regret/groups.py:coded_law     # synthetic law, up to 1,024
  python -m experiments.regret.groups --config=configs/regret/groups.py:adult         # UCI Adult, up to 980

25 to 35 s each on two CPU cores, most of it compilation; Adult 3 min. Expected on medical costs, shuffle 473, loss of
everybody in 57 groups: ANH 9.960, mean prediction and clipping 8.606, AA 8.351. Smoke: ":quick", ":coded_law,quick".
"""

import ml_collections as mlc

ARGS = ("quick", "medical", "coded_law", "adult")

METHODS = ("anh", "anh_mean", "aa", "anh_mean_depth", "aa_depth")
MEDICAL = {"data_set": "medical", "num_rounds": 1338}
LAW = {"data_set": "coded_law", "attributes": (3, 3, 3, 3, 3), "law_seed": 21, "num_rows": 8192}
ADULT = {"data_set": "adult", "min_size": 50}


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    quick = "quick" in given
    data_set = next((word for word in given if word != "quick"), "medical")
    c = mlc.ConfigDict({"experiment": "regret.groups", "seed": 0, "data": "insurance"})
    methods, laps, replicates = METHODS, 2 if quick else 4, 3 if quick else 10
    c.problem = MEDICAL | {"sizes": (12, 57) if quick else (5, 12, 30, 57, 101, 176)}
    if data_set == "coded_law":
        c.data, methods, laps, replicates = "", METHODS[1:], 1, 2 if quick else 4
        sizes, rounds = ((106, 1024), 2048) if quick else ((16, 106, 376, 1024), 4096)
        c.problem = LAW | {"sizes": sizes, "num_rounds": rounds}
    elif data_set == "adult":
        c.data, laps, replicates = "adult", 1, 1
        sizes, rounds = ((71, 980), 4096) if quick else ((12, 71, 250, 980), 48_842)
        c.problem = ADULT | {"sizes": sizes, "num_rounds": rounds}
    c.algo = {"methods": methods, "regularization": 1.0, "form": "compacted", "block_size": 32}
    c.run = {"num_steps": laps * len(c.problem.sizes) * (1 + len(methods)), "chunk": 1, "replicates": replicates}
    return c
