"""The families of configs/regret/groups.py with ten shuffles and longer streams. Figure: regret/fig_groups, paper form.

  python -m experiments.regret.groups --config=configs/regret/paper_groups.py                  # 30 s on two CPU cores
  python -m experiments.regret.groups --config=configs/regret/paper_groups.py:coded_law        # 10 min
  python -m experiments.regret.groups --config=configs/regret/paper_groups.py:adult            # 8 min
Expected: as configs/regret/groups.py. Smoke: append ":quick" or ",quick".
"""

import ml_collections as mlc

ARGS = ("quick", "medical", "coded_law", "adult")

METHODS = ("anh", "anh_mean", "aa", "anh_mean_depth", "aa_depth")
SIZES = {
    "medical": (1, 5, 12, 30, 57, 101, 176),
    "coded_law": (1, 16, 106, 376, 781, 1024),
    "adult": (1, 12, 71, 250, 500, 980),
}
#: Rounds, replicates, laps.
LENGTHS = {"medical": (1338, 10, 5), "coded_law": (32_768, 10, 2), "adult": (48_842, 2, 1)}


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    quick = "quick" in given
    data_set = next((word for word in given if word != "quick"), "medical")
    c = mlc.ConfigDict({"experiment": "regret.groups", "seed": 0})
    c.data = {"medical": "insurance", "coded_law": "", "adult": "adult"}[data_set]
    rounds, replicates, laps = LENGTHS[data_set]
    sizes = SIZES[data_set][1:3] if quick else SIZES[data_set]
    if quick:
        rounds, replicates, laps = min(rounds, 2048), 2, 1
    c.problem = {"data_set": data_set, "sizes": sizes, "num_rounds": rounds}
    if data_set == "coded_law":
        c.problem.update({"attributes": (3, 3, 3, 3, 3), "law_seed": 21, "num_rows": 32_768})
    if data_set == "adult":
        c.problem.update({"min_size": 50})
    c.algo = {"methods": METHODS, "regularization": 1.0, "form": "compacted", "block_size": 32}
    c.run = {"num_steps": laps * len(sizes) * (1 + len(METHODS)), "chunk": 1, "replicates": replicates}
    return c
